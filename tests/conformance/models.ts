// CLIP, SigLIP and LLaMA on golden checkpoints in the conformance table.
import { runCase } from '../goldens/case.ts';
import { openCase, type Place } from '../goldens/files.ts';
import type { Result } from './check.ts';

const SHORT = ['clip', 'siglip', 'llama', 'llama-gqa'];
const FULL = [
  ...SHORT,
  'clip-eos',
  'clip-gelu',
  'clip-openai',
  'clip-text',
  'clip-text-gelu',
  'clip-vision',
  'llama-rope3',
];
const FILES = ['config.json', 'golden.json', 'golden.safetensors', 'model.safetensors'];

/** Bundles lie two folders deep, as this file does. */
function place(name: string): Place {
  const url = new URL(`../../tests/goldens/cases/${name}`, import.meta.url);
  if (url.protocol === 'file:') return { path: decodeURIComponent(url.pathname) };
  const more = name.startsWith('llama') ? ['generation_config.json'] : [];
  return {
    url: url.href,
    names: [...FILES, ...more].filter((file) => name !== 'clip-openai' || file !== 'config.json'),
  };
}

export async function models(isFull: boolean): Promise<Result[]> {
  const results: Result[] = [];
  for (const name of isFull ? FULL : SHORT) {
    const { outputs, missing } = await runCase(await openCase(place(name)));
    for (const { call, output, ok, max_abs, sha256, why } of outputs) {
      results.push({ group: 'model', name: `${name} ${call} ${output}`, ok, max_abs, sha256, ...(why && { why }) });
    }
    for (const { call, output, why } of missing) {
      results.push({ group: 'model', name: `${name} ${call} ${output}`, ok: false, max_abs: null, sha256: '', why });
    }
  }
  return results;
}
