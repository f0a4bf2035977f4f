// tessera inspect from outside: what it prints.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeSafetensors } from '../../src/io/safetensors.ts';
import { golden } from '../tasks/support.ts';
import { build, makeFolder, ROOT, relative, tessera } from './run.ts';

let folder: string;
beforeAll(async () => {
  folder = await makeFolder();
  await build();
});
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

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
      "visual.transformer.resblocks.0.ln_1.bias    F32  [64]  256 B
      visual.transformer.resblocks.0.ln_1.weight  F32  [64]  256 B
      visual.transformer.resblocks.0.ln_2.bias    F32  [64]  256 B
      visual.transformer.resblocks.0.ln_2.weight  F32  [64]  256 B

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

  test('names act on no terminal', async () => {
    const file = path.join(ROOT, folder, 'acts.safetensors');
    const value = { dtype: 'U8', shape: [1], data: new Uint8Array(1) } as const;
    await writeFile(file, writeSafetensors([['a\x1b[2J\n\u202eb', value]], [['x\x07', '\x1b]0;title']]));
    const { code, out, err } = await tessera(['inspect', file]);
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('a\\x1b[2J\\x0a\\u202eb  U8  [1]  1 B\n');
    expect(out).toContain('x\\x07: \\x1b]0;title\n');
  });
});
