// tessera plan from outside: what it prints, and that it needs no device.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { golden } from '../tasks/support.ts';
import { build, makeFolder, ROOT, relative, tessera } from './run.ts';

let folder: string;
beforeAll(async () => {
  folder = await makeFolder();
  await build();
});
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

/** A folder with nothing but this config.json. */
async function config(name: string, value: object): Promise<string> {
  await mkdir(path.join(ROOT, folder, name));
  await writeFile(path.join(ROOT, folder, name, 'config.json'), JSON.stringify(value));
  return `${folder}/${name}`;
}

describe('plan', () => {
  const NO_DEVICE = { env: { TESSERA_ADAPTER: 'none', VK_ICD_FILENAMES: '/dev/null' } };

  test('prints modules and totals of a real model from its config alone', async () => {
    const model = await config('b32', { model_type: 'clip', text_config: {}, vision_config: {} });
    const { code, out, err } = await tessera(['plan', '--model', model, '--batch-size', '4'], NO_DEVICE);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^clip +parameters +f32 +f16 +q8 +q4\n/);
    expect(out).toMatch(/\ntext_model +63,165,952 /);
    expect(out).toMatch(/\nvision_model +87,456,000 /);
    expect(out).toMatch(/\nweights +151,277,313 /); // as transformers counts CLIP B/32
    expect(out).toContain('input_ids [4, 77] and pixel_values [4, 3, 224, 224]');
  });
  test('--json adds up', async () => {
    const { code, out } = await tessera(['plan', '--model', relative(golden('siglip')), '--json'], NO_DEVICE);
    const { weights, activations, total_bytes } = JSON.parse(out);
    expect(code).toBe(0);
    const sum = (list: { bytes: { f32: number } }[]) => list.reduce((n, { bytes }) => n + bytes.f32, 0);
    expect(sum(weights.modules)).toBe(weights.bytes.f32);
    expect(total_bytes.f32).toBe(weights.bytes.f32 + activations.bytes);
  });
  test.each([
    ['a folder without one', async () => folder, 'no config.json'],
    ['a kind nobody knows', () => config('odd', { model_type: 'odd' }), 'want one of clip, siglip, llama'],
    [
      'layers without end',
      () => config('deep', { model_type: 'clip', text_config: { num_hidden_layers: 1e9 } }),
      'is a number in config.json wrong?',
    ],
    [
      'sizes that do not go together',
      () => config('heads', { model_type: 'clip', text_config: { num_attention_heads: 7 } }),
      'config.json describes no model',
    ],
    [
      'a picture smaller than a patch',
      () => config('small', { model_type: 'clip', vision_config: { image_size: 10, patch_size: 32 } }),
      'config.json describes no model',
    ],
  ])('%s is one line and code 2', async (_, make, message) => {
    const { code, out, err } = await tessera(['plan', '--model', await make()], NO_DEVICE);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(message);
    expect(err.trim()).not.toContain('\n');
  });
});
