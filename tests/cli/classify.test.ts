// tessera classify and start from outside: what they print.
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pictures, tinyFolder, withNumber } from '../tasks/support.ts';
import { asModel, build, makeFolder, PATIENCE, ROOT, type Run, relative, tessera } from './run.ts';

const LABELS = ['--labels', 'a cat, dog,,a cat'];
const [picture, second] = pictures.map(relative) as [string, string];
let folder: string;
let [clip, siglip]: string[][] = [];

beforeAll(async () => {
  folder = await makeFolder();
  clip = await asModel(tinyFolder('clip'), path.join(folder, 'clip'));
  siglip = await asModel(tinyFolder('siglip'), path.join(folder, 'siglip'));
  await build();
}, PATIENCE);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

describe('classify', () => {
  test(
    'prints each picture with its labels, best first',
    async () => {
      const { code, out, err } = await tessera(['classify', picture, second, ...LABELS, ...clip!]);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(out).toMatchInlineSnapshot(`
      "tests/goldens/cases/clip-processor/landscape.png
        dog    ██████████▎           51.2 %
        a cat  █████████▊            48.8 %
      tests/goldens/cases/clip-processor/portrait.png
        dog    ██████████▎           51.3 %
        a cat  █████████▊            48.7 %
      "
    `);
    },
    PATIENCE,
  );

  test(
    '--json is one document that says where it was computed; every runtime gives the same scores',
    async () => {
      const run = async (runtime: Run['runtime']) => {
        const { code, out, err } = await tessera(['classify', picture, ...LABELS, ...clip!, '--json'], { runtime });
        expect({ code, err }).toEqual({ code: 0, err: '' });
        return JSON.parse(out);
      };
      const own = await run('own');
      const { adapter, results, time_ms, runtime, ...rest } = own;
      expect(rest).toMatchInlineSnapshot(
        { version: expect.stringMatching(/^\d+\.\d+\.\d+/), model: { path: expect.any(String) } },
        `
      {
        "command": "classify",
        "dtype": "f32",
        "failed": [],
        "hypothesis_template": "This is a photo of {}.",
        "model": {
          "model_type": "clip",
          "path": Any<String>,
          "unused": [],
        },
        "numerics": "exact",
        "version": StringMatching /\\^\\\\d\\+\\\\\\.\\\\d\\+\\\\\\.\\\\d\\+/,
      }
    `,
      );
      expect(adapter).toMatchObject({ name: expect.any(String), software: expect.any(Boolean), runtime });
      expect(time_ms).toEqual({ load: expect.any(Number), classify: expect.any(Number) });
      expect(results).toEqual([{ picture, labels: [expect.any(Object), expect.any(Object)] }]);
      for (const other of ['bun', 'deno'] as const) {
        const found = await run(other);
        expect([found.runtime, found.results]).toEqual([other, results]);
      }
    },
    PATIENCE,
  );

  test(
    'SigLIP, f16, --top and --template',
    async () => {
      const args = [...LABELS, ...siglip!, '--dtype', 'f16', '--top', '1', '--template', 'so {}', '--json'];
      const { code, out } = await tessera(['classify', picture, ...args]);
      const { dtype, hypothesis_template, results, model: used } = JSON.parse(out);
      expect({ code, dtype, hypothesis_template, type: used.model_type, labels: results[0].labels.length }).toEqual({
        code: 0,
        dtype: 'f16',
        hypothesis_template: 'so {}',
        type: 'siglip',
        labels: 1,
      });
    },
    PATIENCE,
  );

  test.each(['--trace', 'TESSERA_TRACE=1'])(
    '%s prints what runs on stderr, and stdout stays as it was',
    async (how) => {
      const isOption = how === '--trace';
      const args = ['classify', picture, ...LABELS, ...clip!, '--json', ...(isOption ? [how] : [])];
      const { code, out, err } = await tessera(args, isOption ? {} : { env: { TESSERA_TRACE: '1' } });
      expect([code, JSON.parse(out).command]).toEqual([0, 'classify']);
      expect(err).toMatch(/^plan: \d+ nodes/m);
      expect(err).toMatch(/ us .*GFLOP\/s.* softmax f32 \[1, 2\]/);
    },
    PATIENCE,
  );

  test(
    'a bad picture among others is reported and left out',
    async () => {
      const text = path.join(folder, 'text.png');
      await writeFile(path.join(ROOT, text), 'hello');
      const args = ['classify', picture, 'none.png', text, second, ...LABELS, ...clip!, '--top', '1'];
      const { code, out, err } = await tessera(args);
      expect({ code, out: out.replace(/ .*/g, ''), err: err.replaceAll(folder, 'FOLDER') }).toMatchInlineSnapshot(`
        {
          "code": 2,
          "err": "error: [none.png] no such file: want a picture
        error: [FOLDER/text.png] cannot be read as a picture: this is no known file type, want PNG, JPEG or WebP
        error: [classify] left out 2 of 4 pictures, see above
        ",
          "out": "tests/goldens/cases/clip-processor/landscape.png

        tests/goldens/cases/clip-processor/portrait.png

        ",
        }
      `);
    },
    PATIENCE,
  );

  test(
    'weights that give no numbers are a failure, not a result',
    async () => {
      const weights = { 'model.safetensors': withNumber('clip', 'visual_projection.weight', Number.NaN) };
      const broken = await asModel(tinyFolder('clip', weights), path.join(folder, 'broken'));
      const { code, out, err } = await tessera(['classify', picture, second, ...LABELS, ...broken]);
      expect({ code, out, err }).toMatchInlineSnapshot(`
        {
          "code": 1,
          "err": "error: [zero-shot-image-classification] tests/goldens/cases/clip-processor/landscape.png, every label: the logit is NaN, want a number. Do the weights hold NaN or infinity, or numbers too large (if dtype is 'f16', try 'f32')?
        ",
          "out": "",
        }
      `);
    },
    PATIENCE,
  );

  test(
    'tensors that the model does not use are named; --json names them all, and what was left out',
    async () => {
      const config = JSON.parse((await tinyFolder('clip').text('config.json'))!);
      config.text_config.num_hidden_layers = 1;
      const less = await asModel(
        tinyFolder('clip', { 'config.json': JSON.stringify(config) }),
        path.join(folder, 'less'),
      );
      const { code, out, err } = await tessera(['classify', 'none.png', picture, ...LABELS, ...less, '--json']);
      expect({ code, err }).toMatchInlineSnapshot(`
        {
          "code": 2,
          "err": "error: [none.png] no such file: want a picture
        16 tensors of the checkpoint are not used by CLIPModel: text_model.encoder.layers.1.layer_norm1.bias, text_model.encoder.layers.1.layer_norm1.weight, text_model.encoder.layers.1.layer_norm2.bias, text_model.encoder.layers.1.layer_norm2.weight, text_model.encoder.layers.1.mlp.fc1.bias, ...
        error: [classify] left out 1 of 2 pictures, see above
        ",
        }
      `);
      const { results, failed, model } = JSON.parse(out);
      const { unused } = model;
      expect([results.length, failed]).toEqual([
        1,
        [{ picture: 'none.png', error: '[none.png] no such file: want a picture' }],
      ]);
      expect(unused).toContain('text_model.encoder.layers.1.mlp.fc1.weight');
      expect(err).toContain(`${unused.length} tensors`);
    },
    PATIENCE,
  );

  test(
    'ends with 130 when interrupted',
    async () => {
      const args = ['classify', picture, ...LABELS, ...clip!, '--trace'];
      const { code, err } = await tessera(args, { onError: (child) => child.kill('SIGINT') });
      expect(code).toBe(130);
      expect(err).not.toMatch(/error|at /i);
    },
    PATIENCE,
  );
});

describe('start', () => {
  test(
    'names the drawings of the unseen hand, finds the captions of scenes, draws, and sees what it drew',
    async () => {
      const { code, out, err } = await tessera(['start', '--json']);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      const { command, hypothesis_template, score, results, scenes, circle } = JSON.parse(out);
      expect({ command, hypothesis_template }).toEqual({ command: 'start', hypothesis_template: 'a drawing of {}' });
      expect(score.pictures).toBe(20);
      expect(score.first_five).toBeGreaterThanOrEqual(5); // by chance: one in two tries of all twenty
      type Result = { truth: string; rank: number; right: boolean; labels: { label: string; score: number }[] };
      for (const { truth, rank, right, labels } of results as Result[]) {
        expect(labels).toHaveLength(5);
        expect(labels.findIndex(({ label }) => label === truth)).toBe(rank <= 5 ? rank - 1 : -1);
        expect(right).toBe(rank === 1);
      }
      expect(results.filter(({ right }: Result) => right)).toHaveLength(score.right);
      expect({ labels: scenes.labels, ...scenes.score }).toMatchObject({ labels: 100, pictures: 5 });
      expect(scenes.results.map(({ labels }: Result) => labels.length)).toEqual([5, 5, 5, 5, 5]);
      expect(new Set(scenes.results.map(({ truth }: Result) => truth)).size).toBe(5);
      const things = ['a fox', 'a tiger'];
      expect(circle.pictures).toMatchObject(
        things.map((thing) => ({
          prompt: `a drawing of ${thing} on a green background`,
          labels: [{ label: thing }, {}, {}], // few steps, but enough of them
          right: true,
          description: expect.stringMatching(/ on a green background$/),
        })),
      );
      expect(circle.pictures.map(({ strength }: { strength?: number }) => strength)).toEqual([undefined, 0.8]);
    },
    2 * PATIENCE,
  );

  test(
    'says what it does, what came of it and what chance is',
    async () => {
      const { code, out, err } = await tessera(['start']);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      const lines = out.split('\n');
      expect(lines[0]).toMatch(
        /^tessera-clip, .* 20 drawings by a hand it has never seen: which of 200 things is each\?$/,
      );
      const table = lines.slice(4, 24);
      for (const line of table) expect(line).toMatch(/^\S.{20,} +\d+\.\d % {2}(right|wrong, guess \d+ is right)$/);
      const right = table.filter((line) => line.endsWith('%  right')).length;
      expect(lines[25]).toMatch(
        new RegExp(`^${right} of 20 right; chance is 0.1. \\d+ among the first five; chance is 0.5.$`),
      );
      expect(lines[27]).toMatch(/^And 5 scenes, .*: which of 100 captions is each\?$/);
      expect(lines.filter((one) => /^ {2}[█▏▎▍▌▋▊▉]* +\d+\.\d % {2}\S/.test(one))).toHaveLength(25);
      const end = lines.findIndex((one) =>
        /^\d of 5 right; chance is 0.05. \d among the first five; chance is 0.25.$/.test(one),
      );
      expect(end).toBeGreaterThan(28);
      expect(Math.max(...lines.slice(28, end).map((one) => one.length))).toBeLessThanOrEqual(100);
      expect(lines[end + 3]).toMatch(/^tessera-llava, .* describes them and answers:$/);
      const told = lines.findIndex((one) => /^\d+ of 12 right, to the letter, in /.test(one));
      expect(told).toBeGreaterThan(end);
      expect(Math.max(...lines.slice(end + 3, told).map((one) => one.length))).toBeLessThanOrEqual(100);
      const circle = lines.slice(told + 2).join('\n');
      expect(circle).toMatch(/^\nAnd the circle closes: tessera-diffusion draws from words, .*\n/);
      for (const [thing, how] of [
        ['a fox', 'of noise, in 5 steps'],
        ['a tiger', 'of that picture, 80 % of it anew, in 4 steps'],
      ]) {
        expect(circle).toMatch(
          new RegExp(
            `\n\na drawing of ${thing} on a green background\n${how}, \\d+\\.\\d\\d s\n` +
              `tessera-clip, of 200 things: (right|not ${thing})\n(  \\S.* [█▏▎▍▌▋▊▉]* +\\d+\\.\\d %\n){3}tessera-llava: \\S.*\n`,
          ),
        );
      }
      expect(lines.at(-2)).toMatch(/^Drawn, seen and changed in .*tessera imagine, tessera edit/);
    },
    2 * PATIENCE,
  );

  test(
    'is the default of classify; piped, it is plain text',
    async () => {
      const { code, out } = await tessera(['classify', 'weights/world/openmoji/cherries.png', '--top', '2']);
      expect(code).toBe(0);
      expect(out).toMatch(/^weights\/world\/openmoji\/cherries.png\n( {2}\S.* [█▏▎▍▌▋▊▉]* +\d+\.\d %\n){2}$/);
    },
    PATIENCE,
  );
});
