// The commands that make pictures, from outside, on the tiny Stable Diffusion of a golden case.
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeImage } from '../../src/io/image.ts';
import { settingsOf } from '../../src/tasks/picture.ts';
import { build, makeFolder, ROOT, tessera } from './run.ts';

const LONG = { timeout: 600_000 }; // some hundred kernels are compiled, in each process
const MODEL = ['--model', 'tests/goldens/cases/stable-diffusion', '--steps', '2', '--guidance', '3'];
const SIZE = ['--width', '24', '--height', '16'];

let folder: string;
const at = (name: string) => `${folder}/${name}`;
const read = async (name: string) => new Uint8Array(await readFile(path.join(ROOT, at(name))));
beforeAll(async () => {
  folder = await makeFolder();
  await build();
}, 180_000);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

describe('pictures', () => {
  test('from words: saved with the settings that make them again', LONG, async () => {
    const lora = 'tests/goldens/cases/stable-diffusion/lora_kohya/pytorch_lora_weights.safetensors:0.5';
    const more = ['--scheduler', 'euler-a', '--lora', lora, '--rng', 'torch', '--count', '2'];
    const out = ['-o', at('cat.png'), '--json'];
    const made = await tessera(['imagine', 'a red cat', ...MODEL, ...SIZE, '--seed', '4', ...more, ...out]);
    expect([made.code, made.err]).toEqual([0, '']);
    const { seeds, files, steps } = JSON.parse(made.out);
    expect({ seeds, files, steps }).toEqual({ seeds: [4, 5], files: [at('cat-1.png'), at('cat-2.png')], steps: 4 });
    const second = await read('cat-2.png');
    expect(await settingsOf(second)).toMatchObject({
      command: 'imagine',
      prompt: 'a red cat',
      options: { seed: 5, scheduler: 'euler-a', rng: 'torch', lora: [{ weight: 0.5 }] },
      parameters: expect.stringContaining('Seed: 5, Size: 24x16'),
    });
    const again = await tessera(['imagine', '--like', at('cat-2.png'), '-o', at('again.png')]);
    expect(again).toEqual({ code: 0, out: `${at('again.png')}\n`, err: '' });
    expect(await read('again.png')).toEqual(second);
    expect((await decodeImage(second)).data).not.toEqual((await decodeImage(await read('cat-1.png'))).data);
  });

  test('from a picture: changed, inverted, and back from there', LONG, async () => {
    const picture = 'tests/goldens/cases/clip-processor/landscape.png';
    const edited = await tessera([
      'edit',
      picture,
      'a cat',
      ...MODEL,
      '--strength',
      '0',
      '--seed',
      '1',
      '-o',
      at('e.png'),
    ]);
    expect(edited).toEqual({ code: 0, out: `${at('e.png')}\n`, err: '' });
    const there = await tessera(['invert', picture, 'a cat', ...MODEL.slice(0, 4), ...SIZE, '-o', at('i.safetensors')]);
    expect(there).toEqual({ code: 0, out: `${at('i.safetensors')}\n`, err: '' });
    const back = await tessera(['imagine', 'a dog', ...MODEL, '--from', at('i.safetensors'), '-o', at('b.png')]);
    expect(back).toEqual({ code: 0, out: `${at('b.png')}\n`, err: '' });
    expect(await decodeImage(await read('b.png'))).toMatchObject({ width: 24, height: 16 });
    const vae = await tessera([
      'vae',
      'round-trip',
      picture,
      ...MODEL.slice(0, 2),
      ...SIZE,
      '-o',
      at('v.png'),
      '--json',
    ]);
    expect([vae.code, vae.err]).toEqual([0, '']);
    expect(JSON.parse(vae.out)).toMatchObject({ files: [at('v.png')], psnr: expect.any(Number) });
  });
});

describe('mistakes', () => {
  test.each([
    [['imagine'], '[imagine] got no prompt'],
    [['imagine', 'a cat', ...MODEL, '-o', 'cat.jpg'], '[cat.jpg] not a type that can be written: got .jpg, want .png'],
    [['imagine', 'a cat', ...MODEL, '-o', 'nowhere/cat.png'], '[nowhere/cat.png] cannot be written: no such folder'],
    [['imagine', 'a cat', ...MODEL, '--scheduler', 'heun'], 'Allowed choices are ddim, pndm, euler'],
    [['imagine', 'a cat', '--model', 'tests/goldens/cases/clip'], 'weights alone: want { config:'],
    [['imagine', '--like', 'tests/goldens/cases/clip-processor/landscape.png'], 'has no settings in it'],
    [['imagine', 'a cat', ...MODEL, '--from', 'package.json'], '[package.json]'],
    [['imagine', 'a cat', ...MODEL, '--lora', 'none.safetensors:x'], 'no such file'],
    [['edit', 'none.png', 'a cat', ...MODEL], '[none.png] no such file'],
  ])('%j', { timeout: 120_000 }, async (args, message) => {
    const { code, out, err } = await tessera(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(err).toContain(message);
  });

  test('a size, and a mask of another size', LONG, async () => {
    const wrong = await tessera(['imagine', 'a cat', ...MODEL, '--width', '500', '-o', at('w.png')]);
    expect(wrong).toMatchObject({ code: 2, err: 'error: [width] got 500, want a multiple of 8: 504 is the nearest\n' });
    const masks = ['tests/goldens/cases/clip-processor/landscape.png', 'tests/goldens/cases/clip-processor/tiny.png'];
    const { code, err } = await tessera(['inpaint', ...masks, 'a cat', ...MODEL, '-o', at('w.png')]);
    expect([code, err]).toEqual([2, expect.stringMatching(/^error: \[mask_image\] got \d+ x \d+, want the picture's/)]);
    await expect(read('w.png')).rejects.toThrow('ENOENT');
  });

  test('settings of another command', async () => {
    const { encodePng } = await import('../../src/io/image.ts');
    const { textChunks } = await import('../../src/io/png-text.ts');
    const pixels = { width: 1, height: 1, channels: 3, data: new Uint8Array(3) };
    const png = await encodePng(pixels, textChunks({ tessera: '{"command":"edit"}' }));
    await writeFile(path.join(ROOT, at('edit.png')), png);
    const { code, err } = await tessera(['imagine', '--like', at('edit.png')]);
    expect([code, err]).toEqual([2, `error: [${at('edit.png')}] was made by "edit", want tessera imagine\n`]);
  });
});
