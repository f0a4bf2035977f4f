// The command line from outside: what it prints, its exit codes, and one line for every mistake.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeSafetensors } from '../../src/io/safetensors.ts';
import { golden, pictures, tinyFolder } from '../tasks/support.ts';
import { build, ROOT, type Run, tessera } from './run.ts';

const PATIENCE = 180_000; // a software adapter compiles each kernel first
const LABELS = ['--labels', 'a cat, dog,,a cat'];
const relative = (file: string) => path.relative(ROOT, file);
const [picture, second] = pictures.map(relative) as [string, string];
let folder: string; // in the repository, as paths are part of what is printed

beforeAll(async () => {
  await mkdir(path.join(ROOT, '.cache'), { recursive: true });
  folder = relative(await mkdtemp(path.join(ROOT, '.cache', 'cli-')));
  for (const family of ['clip', 'siglip'] as const) {
    const files = tinyFolder(family);
    await mkdir(path.join(ROOT, folder, family));
    for (const name of await files.list()) {
      const source = (await files.open(name))!;
      await writeFile(path.join(ROOT, folder, family, name), await source.read(0, source.size));
    }
  }
  await build();
}, PATIENCE);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

const model = (family: 'clip' | 'siglip' = 'clip') => ['--model', path.join(folder, family)];

describe('classify', () => {
  test(
    'prints each picture with its labels, best first',
    async () => {
      const { code, out, err } = await tessera(['classify', picture, second, ...LABELS, ...model()]);
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
        const { code, out, err } = await tessera(['classify', picture, ...LABELS, ...model(), '--json'], { runtime });
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
        "hypothesis_template": "This is a photo of {}.",
        "model": {
          "model_type": "clip",
          "path": Any<String>,
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
      const args = [...LABELS, ...model('siglip'), '--dtype', 'f16', '--top', '1', '--template', 'so {}', '--json'];
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
      const args = ['classify', picture, ...LABELS, ...model(), '--json', ...(isOption ? [how] : [])];
      const { code, out, err } = await tessera(args, isOption ? {} : { env: { TESSERA_TRACE: '1' } });
      expect([code, JSON.parse(out).command]).toEqual([0, 'classify']);
      expect(err).toMatch(/^plan: \d+ nodes/m);
      expect(err).toMatch(/ us .*GFLOP\/s.* softmax f32 \[1, 2\]/);
    },
    PATIENCE,
  );

  test(
    'ends with 130 when interrupted',
    async () => {
      const args = ['classify', picture, ...LABELS, ...model(), '--trace'];
      const { code, err } = await tessera(args, { onError: (child) => child.kill('SIGINT') });
      expect(code).toBe(130);
      expect(err).not.toMatch(/error|at /i);
    },
    PATIENCE,
  );
});

describe('start', () => {
  test(
    'names the drawings of the unseen hand',
    async () => {
      const { code, out, err } = await tessera(['start', '--json']);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      const { command, hypothesis_template, score, results } = JSON.parse(out);
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
    },
    PATIENCE,
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

describe('inspect', () => {
  test('lists a folder', async () => {
    const { code, out, err } = await tessera([
      'inspect',
      relative(golden('clip-openai')),
      '--filter',
      'visual.transformer.resblocks.0.LN',
    ]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatchInlineSnapshot(`
      "visual.transformer.resblocks.0.ln_1.bias    F32  [64]     256 B
      visual.transformer.resblocks.0.ln_1.weight  F32  [64]     256 B
      visual.transformer.resblocks.0.ln_2.bias    F32  [64]     256 B
      visual.transformer.resblocks.0.ln_2.weight  F32  [64]     256 B

      name        clip-openai
      layout      openai-clip
      tensors     53 tensors, 4 with 'visual.transformer.resblocks.0.ln' in their name
      parameters  325,764, 674.8 kB
      dtypes      F16 27 tensors 628.2 kB, F32 23 tensors 46.6 kB, I64 3 tensors 24 B
      "
    `);
  });

  test('--json says the same', async () => {
    const { code, out } = await tessera([
      'inspect',
      relative(golden('siglip/model.safetensors')),
      '--filter',
      'logit',
      '--json',
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchInlineSnapshot(`
      {
        "architectures": [
          "SiglipModel",
        ],
        "command": "inspect",
        "dtypes": {
          "F32": {
            "bytes": 177752,
            "parameters": 44438,
            "tensors": 88,
          },
        },
        "files": [
          {
            "bytes": 187184,
            "name": "model.safetensors",
            "tensors": 88,
          },
        ],
        "filter": "logit",
        "layout": "transformers",
        "metadata": {
          "format": "pt",
        },
        "model_type": "siglip",
        "name": "siglip",
        "path": "tests/goldens/cases/siglip/model.safetensors",
        "tensors": [
          {
            "bytes": 4,
            "dtype": "F32",
            "file": "model.safetensors",
            "name": "logit_bias",
            "parameters": 1,
            "shape": [
              1,
            ],
          },
          {
            "bytes": 4,
            "dtype": "F32",
            "file": "model.safetensors",
            "name": "logit_scale",
            "parameters": 1,
            "shape": [
              1,
            ],
          },
        ],
        "totals": {
          "bytes": 177752,
          "parameters": 44438,
          "tensors": 88,
        },
        "unexpected": [],
      }
    `);
  });

  test('shards', async () => {
    const shards = path.join(ROOT, folder, 'shards');
    await mkdir(shards);
    const part = (name: string) => writeSafetensors([[name, { dtype: 'F32', shape: [2], data: new Float32Array(2) }]]);
    const [one, two] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
    await writeFile(path.join(shards, one), part('a'));
    await writeFile(path.join(shards, two), part('b'));
    await writeFile(
      path.join(shards, 'model.safetensors.index.json'),
      JSON.stringify({ weight_map: { a: one, b: two } }),
    );
    const { out } = await tessera(['inspect', shards, '--json']);
    const { files, totals } = JSON.parse(out);
    expect(totals).toEqual({ tensors: 2, parameters: 4, bytes: 16 });
    expect(files.map((file: { name: string; tensors: number }) => [file.name, file.tensors])).toEqual([
      [one, 1],
      [two, 1],
    ]);
  });

  test('a reader that goes away is no error', async () => {
    const many = Array.from(
      { length: 4000 },
      (_, i) => [`layer.${i}`, { dtype: 'U8', shape: [1], data: new Uint8Array(1) }] as const,
    );
    const file = path.join(ROOT, folder, 'many.safetensors');
    await writeFile(file, writeSafetensors(many));
    expect(await tessera(['inspect', file], { hangUp: true })).toMatchObject({ code: 0, err: '' });
  });
});

describe('help', () => {
  test.each([['--help'], ['classify', '--help'], ['inspect', '--help'], ['start', '--help'], ['help', 'inspect'], []])(
    '%s %s',
    async (...args) => {
      const { code, out, err } = await tessera(args);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(out).toMatch(/^Usage: tessera /);
      expect(out).toMatch(/Examples:\n( {2}tessera .*\n?)+/);
    },
  );

  test('--version', async () => {
    expect(await tessera(['--version'])).toEqual({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), err: '' });
  });
});

/** The only line on stderr of a command that was given something wrong. */
async function complaint(...args: string[]): Promise<string> {
  const { code, out, err } = await tessera(args);
  expect({ code, out, lines: err.split('\n').length, stack: /\n\s+at /.test(err) }).toEqual({
    code: 2,
    out: '',
    lines: 2,
    stack: false,
  });
  return err.trim().replaceAll(folder, 'FOLDER');
}

describe('mistakes', () => {
  test('in the command', async () => {
    expect(await complaint('clasify')).toMatchInlineSnapshot(
      `"error: unknown command 'clasify' (Did you mean classify?)"`,
    );
    expect(await complaint('classify')).toMatchInlineSnapshot(`"error: missing required argument 'pictures'"`);
    expect(await complaint('classify', picture, '--lables', 'a')).toMatchInlineSnapshot(
      `"error: unknown option '--lables' (Did you mean --labels?)"`,
    );
    expect(await complaint('classify', picture, '--top', '0')).toMatchInlineSnapshot(
      `"error: option '--top <n>' argument '0' is invalid. Want a whole number from 1."`,
    );
    expect(await complaint('classify', picture, '--dtype', 'q4')).toMatchInlineSnapshot(
      `"error: option '--dtype <type>' argument 'q4' is invalid. Allowed choices are f32, f16."`,
    );
    expect(await complaint('inspect', 'a', 'b')).toMatchInlineSnapshot(
      `"error: too many arguments for 'inspect'. Expected 1 argument but got 2."`,
    );
    expect(await complaint('start', 'x')).toMatchInlineSnapshot(
      `"error: too many arguments for 'start'. Expected 0 arguments but got 1."`,
    );
  });

  test('in labels', async () => {
    expect(await complaint('classify', picture, '--labels', ' , ')).toMatchInlineSnapshot(
      `"error: [classify] no labels: want some, such as --labels "a cat,a dog""`,
    );
    expect(await complaint('classify', picture, ...model())).toMatchInlineSnapshot(
      `"error: [classify] no labels: want some, such as --labels "a cat,a dog""`,
    );
    expect(await complaint('classify', picture, ...LABELS, ...model(), '--template', 'x')).toMatchInlineSnapshot(
      `"error: [zero-shot-image-classification] hypothesis_template: got "x", want {} where the label goes"`,
    );
  });

  test(
    'in pictures',
    async () => {
      const text = path.join(folder, 'text.png');
      await writeFile(path.join(ROOT, text), 'hello');
      expect(await complaint('classify', 'none.png', ...LABELS, ...model())).toMatchInlineSnapshot(
        `"error: [none.png] no such file: want a picture"`,
      );
      expect(await complaint('classify', 'src', ...LABELS, ...model())).toMatchInlineSnapshot(
        `"error: [src] is a folder: want a picture in it"`,
      );
      expect(await complaint('classify', text, ...LABELS, ...model())).toMatchInlineSnapshot(
        `"error: [FOLDER/text.png] cannot be read as a picture: this is no known file type, want PNG, JPEG or WebP"`,
      );
      expect(await complaint('classify', 'http://127.0.0.1:1/x.png', ...LABELS, ...model())).toMatch(
        /^error: \[http:\/\/127.0.0.1:1\/x.png\] cannot be fetched: ./,
      );
    },
    PATIENCE,
  );

  test('in models', async () => {
    await mkdir(path.join(ROOT, folder, 'bert'));
    await writeFile(path.join(ROOT, folder, 'bert', 'config.json'), '{"model_type": "bert"}');
    await writeFile(path.join(ROOT, folder, 'bert', 'model.safetensors'), writeSafetensors([]));
    const bare = path.join(folder, 'bare');
    await mkdir(path.join(ROOT, bare));
    expect(await complaint('classify', picture, ...LABELS, '--model', 'nowhere')).toMatchInlineSnapshot(
      `"error: [nowhere] no such file or folder, nor an id of the hub (owner/name)"`,
    );
    expect(await complaint('classify', picture, ...LABELS, '--model', path.join(folder, 'bert'))).toMatchInlineSnapshot(
      `"error: [bert] not a model that can be used here: got model_type "bert", want one of clip, siglip"`,
    );
    expect(await complaint('classify', picture, ...LABELS, '--model', bare)).toMatchInlineSnapshot(
      `"error: [bare] no weights: got no files, want model.safetensors or another .safetensors file"`,
    );
    expect(await complaint('classify', picture, ...LABELS, '--model', relative(golden('clip')))).toMatchInlineSnapshot(
      `"error: [clip] no tokenizer: got none of these files, want tokenizer.json, or vocab.json and merges.txt"`,
    );
    expect(await complaint('inspect', 'nowhere')).toMatchInlineSnapshot(
      `"error: [nowhere] no such file or folder, nor an id of the hub (owner/name)"`,
    );
    expect(await complaint('inspect', bare)).toMatchInlineSnapshot(
      `"error: [bare] no weights: got no files, want model.safetensors or another .safetensors file"`,
    );
    expect(await complaint('inspect', 'package.json')).toMatchInlineSnapshot(
      `"error: [package.json] this is a JSON text, not weights. For a sharded model give the folder"`,
    );
  });

  test('in the adapter', async () => {
    const { code, out, err } = await tessera(['classify', picture, ...LABELS, ...model(), '--adapter', 'no such']);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    const lines = err.split('\n').filter((line) => !line.startsWith('Warning: ')); // Dawn's, of the system's driver
    expect(lines).toEqual([
      expect.stringMatching(/^error: \[gpu\] no WebGPU adapter: got none, want 'no such'\. Tried: /),
      '',
    ]);
  });

  test('--debug shows where they come from', async () => {
    const { code, err } = await tessera(['inspect', 'nowhere', '--debug']);
    expect(code).toBe(2);
    expect(err).toMatch(
      /^error: UserError: \[nowhere\] no such file or folder, nor an id of the hub \(owner\/name\)\n\s+at /,
    );
  });
});
