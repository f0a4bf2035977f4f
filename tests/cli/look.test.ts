// describe, ask, pictures for generate, and train projector, as a user calls them; on the tiny LLaVA of the goldens.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { heatmaps } from '../../src/cli/heatmap.ts';
import { decodePng } from '../../src/io/png.ts';
import { writeSafetensors } from '../../src/io/safetensors.ts';
import { golden, llavaFolder, llavaPictures, originalFolder } from '../tasks/support.ts';
import { asModel, build, makeFolder, PATIENCE, ROOT, relative, tessera } from './run.ts';

const [red, blue] = llavaPictures.map(relative) as [string, string];
const FEW = ['--max-new-tokens', '4', '--ignore-eos'];
let folder: string;
let model: string[] = [];
beforeAll(async () => {
  folder = await makeFolder();
  model = await asModel(llavaFolder(), path.join(folder, 'llava'));
  await build();
}, PATIENCE);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

const inFolder = (name: string) => path.join(folder, name);
const json = async (...args: string[]) => {
  const { code, out, err } = await tessera([...args, '--json', ...model]);
  expect({ code, err }).toEqual({ code: 0, err: expect.not.stringContaining('error') });
  return JSON.parse(out);
};

describe('describe and ask', () => {
  test(
    'say what pictures show, and where each word looked',
    async () => {
      const several = await tessera(['describe', red, 'none.png', blue, ...FEW, ...model]);
      expect([several.code, several.out.split('\n').map((line) => line.split(': ')[0])]).toEqual([2, [red, blue, '']]);
      expect(several.err).toMatch(
        /\[none.png\] no such file[^\n]*\n[^\n]*\[describe\] left out 1 of 3 pictures, see above\n$/,
      );
      const svg = inFolder('words.svg');
      const asked = await json('ask', red, 'what is it?', '--attention', svg, ...FEW);
      const [{ text, words, ids }] = asked.answers;
      expect(ids.length).toBe(4);
      expect(words.map(({ word }: { word: string }) => word).join('')).toBe(text.replace(/\s/g, ''));
      for (const { map, share } of words) {
        expect([map.length, map[0].length]).toEqual([3, 3]);
        expect(map.flat().reduce((a: number, b: number) => a + b)).toBeCloseTo(1, 5);
        expect(share).toBeGreaterThan(0);
        expect(share).toBeLessThan(1);
      }
      expect(await readFile(path.join(ROOT, svg), 'utf8')).toMatch(/^<svg [\s\S]*<\/text>\n<\/svg>\n$/);
    },
    PATIENCE,
  );

  test(
    'pictures go with a prompt, in their order',
    async () => {
      const one = await json('generate', '--image', red, '--image', blue, '--prompt', 'which?', ...FEW);
      const other = await json('generate', '--image', blue, '--image', red, '--prompt', 'which?', ...FEW);
      expect(one.prompt_ids).toEqual(other.prompt_ids);
      expect(one.ids).not.toEqual(other.ids);
    },
    PATIENCE,
  );

  test.each<[string, string[], string]>([
    ['no picture', ['ask', 'none.png', 'what?'], '[none.png] no such file: want a picture'],
    ['no question', ['ask', red, ' '], '[ask] question: got nothing, want a text'],
    ['two pictures', ['describe', red, blue, '--attention', 'x.png'], '--attention: got 2 pictures, want one'],
    ['another type', ['describe', red, '--attention', 'x.gif'], 'got .gif, want .png or .svg'],
    ['a placeholder too few', ['generate', '--raw', '--image', red, '--prompt', 'Hi'], 'got 0 <image> in the text'],
  ])(
    '%s',
    async (_, args, message) => {
      const { code, out, err } = await tessera([...args, ...model]);
      expect([code, out]).toEqual([2, '']);
      expect(err).toContain(message);
    },
    PATIENCE,
  );

  test(
    'a checkpoint of the original repository, with a picture in tiles',
    async () => {
      const config = {
        image_aspect_ratio: 'anyres',
        image_grid_pinpoints: [[48, 24]],
        mm_patch_merge_type: 'spatial_unpad',
      };
      const original = originalFolder({ config });
      const to = inFolder('llava-v1.6-tiny');
      const own = await asModel(original, to);
      await asModel(original.at('vision_tower'), path.join(to, 'vision_tower'));
      const wide = relative(golden('llava-original/wide.png'));
      const words = inFolder('tiles.png');
      const { code, out, err } = await tessera(['ask', wide, 'Hi', '--attention', words, ...FEW, ...own]);
      expect([code, err]).toEqual([0, expect.not.stringContaining('error')]);
      expect(out).toContain(`where each word looked: ${words}`);
      expect((await decodePng(new Uint8Array(await readFile(path.join(ROOT, words))))).width).toBeGreaterThan(128);
    },
    PATIENCE,
  );

  test('a model that sees no pictures', async () => {
    const { code, err } = await tessera(['describe', red, '--model', 'tests/goldens/cases/llama']);
    expect([code, err]).toEqual([2, expect.stringContaining('got model_type "llama", want one of llava')]);
  });
});

test('the picture is lit where a word looked', async () => {
  const image = { width: 4, height: 4, channels: 3, data: new Uint8Array(48).fill(200) };
  const map = [
    [1, 0],
    [0, 0],
  ];
  const words = Array.from({ length: 7 }, (_, i) => ({ word: `w${i}`, share: 0.5, map }));
  const { width, height, data } = await decodePng(await heatmaps(image, words, false));
  expect([width, height]).toEqual([6 * 136 + 8, 2 * 136 + 8]);
  const at = (x: number, y: number) => data[3 * (y * width + x)];
  expect([at(9, 9), at(134, 134), at(9, 134), at(145, 9)]).toEqual([200, 40, 40, 200]); // bright, dark, dark; the next
  expect(at(200, 200)).toBe(255); // beside the seventh
  const svg = new TextDecoder().decode(await heatmaps(image, [{ ...words[0]!, word: '<a&b>' }], true));
  expect(svg).toContain('>&#60;a&#38;b></text>');
});

describe('train projector', () => {
  test(
    'trains, stops, goes on, and writes a model',
    async () => {
      const out = inFolder('run');
      const args = ['train', 'projector', '--out', out, ...model];
      const first = await tessera([
        ...args,
        '--steps',
        '2',
        '--batch-size',
        '1',
        '--fresh',
        '--save-every',
        '1',
        '--json',
      ]);
      expect([first.code, JSON.parse(first.out).losses.length]).toEqual([0, 2]);
      expect((await readdir(path.join(ROOT, out))).sort()).toEqual([
        'loss.svg',
        'projector.safetensors',
        'training.safetensors',
      ]);
      const inFile = await tessera([...args.slice(0, 2), '--out', 'package.json', ...model]);
      expect([inFile.code, inFile.err]).toEqual([2, 'error: [package.json] is a file: want a folder to write to\n']);
      const slow = await tessera([...args, '--warmup', '2']);
      expect([slow.code, slow.err]).toEqual([2, expect.stringContaining('Want a number from 0 to 1')]);
      const again = await tessera(args);
      expect([again.code, again.err]).toEqual([2, expect.stringContaining('--resume goes on with it')]);
      const other = await tessera([...args, '--resume', '--seed', '9']);
      expect([other.code, other.err]).toEqual([
        2,
        expect.stringContaining('the checkpoint was made with 1: leave it out'),
      ]);
      const checkpoint = path.join(ROOT, out, 'training.safetensors');
      const bytes = await readFile(checkpoint);
      for (const notes of [{}, { settings: { steps: 'two' } }, { settings: null, held: [] }]) {
        const damaged = { training: JSON.stringify(notes) };
        await writeFile(checkpoint, writeSafetensors([], Object.entries(damaged)));
        const refused = await tessera([...args, '--resume']);
        expect([refused.code, refused.err]).toEqual([2, expect.stringMatching(/^error: .* its notes are damaged\n$/)]);
      }
      await writeFile(checkpoint, bytes);
      const whole = await tessera([...args, '--resume', '--whole', '--json']);
      expect([whole.code, JSON.parse(whole.out).losses]).toEqual([0, JSON.parse(first.out).losses]);
      expect(await readdir(path.join(ROOT, out))).toContain('model.safetensors');
    },
    3 * PATIENCE,
  );
});
