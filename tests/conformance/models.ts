// CLIP, SigLIP, LLaMA, Mistral, LLaVA and a whole picture of Stable Diffusion on golden checkpoints in the conformance table, and
// one of the tessera-diffusion that ships.
import { runCase } from '../goldens/case.ts';
import { openCase, type Place } from '../goldens/files.ts';
import type { Result } from './check.ts';
import { drawing } from './drawing.ts';

const SHORT = ['clip', 'siglip', 'llama', 'llama-gqa', 'mistral', 'llava', 'stable-diffusion'];
const FULL = [
  ...SHORT,
  'clip-eos',
  'clip-gelu',
  'clip-openai',
  'clip-text',
  'clip-text-gelu',
  'clip-vision',
  'llama-rope3',
  'llava-original-model',
  'train-llava-projector',
];
const FILES = ['config.json', 'golden.json', 'golden.safetensors', 'model.safetensors'];

/** Of a case with many calls those that are run: here four steps from noise to a picture. */
const CALLS: Record<string, string[]> = { 'stable-diffusion': ['pndm'] };

/** What some have beside these, and what they lack. */
const TOKENIZER = ['tokenizer.json', 'tokenizer_config.json'];
const DIFFUSION = [
  ...['model_index.json', 'scheduler/scheduler_config.json', 'text_encoder/config.json', 'unet/config.json'],
  ...['vae/config.json', 'text_encoder/model.safetensors', ...TOKENIZER.map((file) => `tokenizer/${file}`)],
  ...['unet', 'vae'].map((part) => `${part}/diffusion_pytorch_model.safetensors`),
];
const MORE: Record<string, string[]> = {
  mistral: ['generation_config.json'],
  llava: [
    ...['generation_config.json', 'processor_config.json', 'prompts.json', 'picture0.png', 'picture1.png'],
    ...TOKENIZER,
  ],
  'stable-diffusion': DIFFUSION,
  'llava-original-model': [
    ...['linear.safetensors', 'mlp2x_gelu.safetensors'],
    ...['vision_tower/config.json', 'vision_tower/model.safetensors'],
  ],
};
const LESS: Record<string, string[]> = {
  'clip-openai': ['config.json'],
  'llava-original-model': ['config.json', 'model.safetensors'],
  'stable-diffusion': ['config.json', 'model.safetensors'],
};

/** Bundles lie two folders deep, as this file does. */
function place(folder: string, names: string[]): Place {
  const url = new URL(`../../${folder}`, import.meta.url);
  return url.protocol === 'file:' ? { path: decodeURIComponent(url.pathname) } : { url: url.href, names };
}

function caseAt(name: string): Place {
  const more = MORE[name] ?? (name.startsWith('llama') ? ['generation_config.json'] : []);
  return place(
    `tests/goldens/cases/${name}`,
    [...FILES, ...more].filter((file) => !LESS[name]?.includes(file)),
  );
}

export async function models(isFull: boolean): Promise<Result[]> {
  const results: Result[] = [];
  for (const name of isFull ? FULL : SHORT) {
    const { outputs, missing } = await runCase(openCase(caseAt(name)), CALLS[name]);
    for (const { call, output, ok, max_abs, sha256, why } of outputs) {
      results.push({ group: 'model', name: `${name} ${call} ${output}`, ok, max_abs, sha256, ...(why && { why }) });
    }
    for (const { call, output, why } of missing) {
      results.push({ group: 'model', name: `${name} ${call} ${output}`, ok: false, max_abs: null, sha256: '', why });
    }
  }
  return [...results, await drawing(openCase(place('weights/tessera-diffusion', DIFFUSION)))];
}
