// The commands that make pictures, from outside, on the tiny Stable Diffusion of a golden case.
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeImage, encodePng } from '../../src/io/image.ts';
import { textChunks } from '../../src/io/png-text.ts';
import { writeSafetensors } from '../../src/io/safetensors.ts';
import { settingsOf } from '../../src/tasks/picture.ts';
import { build, makeFolder, ROOT, type Run, tessera } from './run.ts';

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
    const lora = 'tests/goldens/cases/stable-diffusion/lora_kohya/pytorch_lora_weights.safetensors';
    const loras = ['--lora', `${lora}:0.5`, '--lora', `${lora}:1e-7`];
    const more = ['--scheduler', 'euler-a', ...loras, '--rng', 'torch', '--vae-tiling', '--count', '2'];
    const out = ['-o', at('cat.png'), '--json'];
    const made = await tessera(['imagine', 'a red cat', ...MODEL, ...SIZE, '--seed', '4', ...more, ...out]);
    expect([made.code, made.err]).toEqual([0, '']);
    const { seeds, files, steps } = JSON.parse(made.out);
    expect({ seeds, files, steps }).toEqual({ seeds: [4, 5], files: [at('cat-1.png'), at('cat-2.png')], steps: 4 });
    const second = await read('cat-2.png');
    expect(await settingsOf(second)).toMatchObject({
      command: 'imagine',
      prompt: 'a red cat',
      options: {
        seed: 5,
        scheduler: 'euler-a',
        rng: 'torch',
        lora: [{ weight: 0.5 }, { weight: 1e-7 }],
        vaeTiling: true,
      },
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
    const roundTrip = async (...more: string[]) => {
      const args = ['vae', 'round-trip', picture, ...MODEL.slice(0, 2), ...SIZE, '-o', at('v.png'), '--json', ...more];
      const { code, out, err } = await tessera(args);
      expect([code, err]).toEqual([0, '']);
      const { files, psnr } = JSON.parse(out);
      expect(files).toEqual([at('v.png')]);
      return psnr;
    };
    const psnr = await roundTrip();
    expect(psnr).toBeGreaterThan(0);
    expect(await roundTrip('--vae-tiling')).not.toBe(psnr); // tiles are as large as 16 pixels here
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
    [['edit', 'none.png', 'a cat', '--strength', '1.5'], "'1.5' is invalid. Want a number from 0 to 1."],
    [['imagine', 'a cat', ...MODEL, '--width', '500'], "'500' is invalid. Want a multiple of 8: 504 is the nearest."],
    [['imagine', 'a cat', ...MODEL, '--seed', '-1'], 'Want a whole number from 0'],
    [['imagine', 'a cat', ...MODEL, '--count', '4000000000'], 'Want a whole number from 1 to 1000.'],
    [
      ['imagine', 'a cat', ...MODEL, '--seed', '9007199254740991', '--count', '2'],
      'for 2 pictures, want at most 90071',
    ],
    [['imagine', 'a cat', ...MODEL, '--width', '8000000'], 'Want a whole number from 1 to 8192.'],
    [['imagine', 'a cat', ...MODEL, '--eta', '2'], 'Want a number from 0 to 1.'],
    [['imagine', '--like', '/dev/zero'], '[/dev/zero] too large for a picture'],
    [['imagine', '--like', 'src'], '[src] is a folder'],
    [['imagine', 'a cat', '--from', '/dev/zero'], '[/dev/zero] is not a file'],
    [['imagine', 'a cat', '--from', 'src'], '[src] is not a file'],
    [['imagine', 'a cat', '--from', 'none.safetensors'], '[none.safetensors] cannot be opened: ENOENT'],
  ])('%j', { timeout: 120_000 }, async (args, message) => {
    const { code, out, err } = await tessera(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(err).toContain(message);
  });

  /** A folder like the model's with one JSON file changed. */
  const altered = async (name: string, file: string, change: object) => {
    const to = path.join(ROOT, at(name));
    await cp(path.join(ROOT, MODEL[1]!), to, { recursive: true });
    const config = JSON.parse(await readFile(path.join(to, file), 'utf8'));
    await writeFile(path.join(to, file), JSON.stringify({ ...config, ...change }));
    return ['--model', at(name), ...MODEL.slice(2)];
  };
  /** What is said in one line, and nothing is left of the file. */
  async function refused(args: string[], run: Run = {}) {
    const { code, out, err } = await tessera([...args, '-o', at('w.png')], run);
    expect([code, out, err.split('\n').length]).toEqual([2, '', 2]);
    expect((await readdir(path.join(ROOT, folder))).filter((name) => name.startsWith('w.png'))).toEqual([]);
    return err;
  }

  test('a mask of another size', LONG, async () => {
    const masks = ['tests/goldens/cases/clip-processor/landscape.png', 'tests/goldens/cases/clip-processor/tiny.png'];
    expect(await refused(['inpaint', ...masks, 'a cat', ...MODEL])).toMatch(
      /^error: \[mask_image\] got \d+ x \d+, want the picture's/,
    );
  });

  test('a scheduler that is not known', LONG, async () => {
    const model = await altered('heun', 'scheduler/scheduler_config.json', { _class_name: 'HeunDiscreteScheduler' });
    expect(await refused(['imagine', 'a cat', ...model])).toContain('_class_name "HeunDiscreteScheduler": want one of');
  });

  test('numbers that are none, in latents that were given', LONG, async () => {
    const nan = { dtype: 'F32' as const, shape: [1, 4, 8, 12], data: new Float32Array(384).fill(Number.NaN) };
    await writeFile(path.join(ROOT, at('nan.safetensors')), writeSafetensors([['latents', nan]]));
    const err = await refused(['imagine', 'a cat', ...MODEL, '--from', at('nan.safetensors'), '--dtype', 'f16']);
    expect(err).toMatch(
      /^error: \[unet\] step 1: values that are no finite numbers, first in conv_in; its weights are/,
    );
    expect(err).toContain("load them with dtype { 'unet.conv_in': 'f32', default: 'f16' }");
  });

  test('a prompt that is too long is cut, and told', LONG, async () => {
    const long = ['imagine', `${'cat '.repeat(75)}dog`, ...MODEL, ...SIZE, '--seed', '1', '-o', at('long.png')];
    const { code, err } = await tessera(long);
    expect([code, err]).toEqual([0, expect.stringMatching(/^\[prompt\] got \d+ tokens, 75 fit; cut off: ".*dog"\n$/)]);
  });

  test('Ctrl-C in the middle leaves no file', LONG, async () => {
    const args = ['imagine', 'a cat', ...MODEL, ...SIZE, '--trace', '-o', at('w.png')];
    const { code } = await tessera(args, { onError: (child) => child.kill('SIGINT') });
    expect(code).toBe(130);
    expect((await readdir(path.join(ROOT, folder))).filter((name) => name.startsWith('w.png'))).toEqual([]);
  });

  const noted = async (name: string, settings: unknown) => {
    const pixels = { width: 1, height: 1, channels: 3, data: new Uint8Array(3) };
    const text = typeof settings === 'string' ? settings : JSON.stringify(settings);
    await writeFile(path.join(ROOT, at(name)), await encodePng(pixels, textChunks({ tessera: text })));
    return at(name);
  };
  test.each<[string, unknown, string]>([
    ['of another command', { command: 'edit' }, 'was made by "edit", want tessera imagine'],
    ['of no command', { command: { a: 1 } }, 'was made by something else, want tessera imagine'],
    ['that are no JSON', '{"command":', 'not valid JSON at line 1'],
    ['with a prompt that is no text', { command: 'imagine', prompt: 7 }, 'prompt: got 7, want a text'],
    ['that are a list', { command: 'imagine', options: [1] }, 'options: got an array [1], want an object'],
    [
      'with a number that is none',
      { command: 'imagine', options: { steps: 'many' } },
      "steps: got 'many', want a whole",
    ],
    ['with nothing for a number', { command: 'imagine', options: { steps: null } }, 'steps: got null, want a value'],
    ['with another choice', { command: 'imagine', options: { rng: 'dice' } }, "rng: got 'dice', Allowed choices are"],
    ['with an odd model', { command: 'imagine', options: { model: ['/'] } }, "model: got an array ['/'], want a value"],
    ['with an odd adapter', { command: 'imagine', options: { lora: [{ file: 1 }] } }, 'lora: got an array [an object]'],
    [
      'with a switch that is neither',
      { command: 'imagine', options: { vaeTiling: 'on' } },
      "vaeTiling: got 'on', want true",
    ],
    ['that are unknown', { command: 'imagine', options: { exec: 'rm' } }, "exec: got 'rm', which is no option here"],
  ])('settings %s', async (_, settings, message) => {
    const file = await noted('noted.png', settings);
    const { code, out, err } = await tessera(['imagine', '--like', file]);
    expect([code, out, err.split('\n').length]).toEqual([2, '', 2]);
    expect(err).toContain(`[${file}]`);
    expect(err).toContain(message);
  });

  test('notes of an inversion that are none', async () => {
    const latents = { dtype: 'F32' as const, shape: [1, 4, 2, 2], data: new Float32Array(16) };
    for (const [notes, message] of [
      ['[]', 'got an array, want a JSON object'],
      ['{"steps": "x"}', "steps: got 'x', want a whole number from 1"],
      ['{', 'not valid JSON'],
    ] as const) {
      await writeFile(
        path.join(ROOT, at('n.safetensors')),
        writeSafetensors([['latents', latents]], [['tessera', notes]]),
      );
      expect(await refused(['imagine', 'a cat', '--from', at('n.safetensors')])).toContain(message);
    }
  });
});
