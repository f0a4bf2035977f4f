// tessera embed from outside: what it writes and prints, and one line for every mistake.
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pictures, tinyFolder, withNumber } from '../tasks/support.ts';
import { asModel, build, makeFolder, PATIENCE, ROOT, relative, tessera } from './run.ts';

const [picture, second, third] = pictures.map(relative) as [string, string, string];
let folder: string;
let [clip, siglip]: string[][] = [];
const full = (name: string) => path.join(ROOT, folder, name);
const inside = (name: string) => path.join(folder, name);

beforeAll(async () => {
  folder = await makeFolder();
  clip = await asModel(tinyFolder('clip'), inside('clip'));
  siglip = await asModel(tinyFolder('siglip'), inside('siglip'));
  await build();
}, PATIENCE);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

/** The document of a run that goes well. */
async function embed(...args: string[]) {
  const { code, out, err } = await tessera(['embed', ...args]);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  const document = JSON.parse(out);
  const { data, shape } = document;
  const rows: number[][] = [];
  for (let at = 0; at < (data?.length ?? 0); at += shape[1]) rows.push(data.slice(at, at + shape[1]));
  return { ...document, rows };
}

/** The numbers of a .npy file of f32, and its shape. */
async function readNpy(name: string) {
  const bytes = await readFile(full(name));
  const start = 10 + bytes.readUInt16LE(8);
  const shape = /'shape': \((.*?)\)/
    .exec(bytes.toString('latin1', 10, start))![1]!
    .split(', ')
    .map(Number);
  return {
    shape,
    data: Array.from({ length: (bytes.length - start) / 4 }, (_, i) => bytes.readFloatLE(start + 4 * i)),
  };
}

describe('embed', () => {
  test(
    'prints a document with a row for each picture, the same alone and in a batch of any size',
    async () => {
      const found = await embed(picture, second, third, '--batch-size', '2', ...clip!);
      const { command, model, normalize, inputs, failed, shape, rows } = found;
      expect({ command, type: model.model_type, normalize, inputs, failed, shape }).toEqual({
        command: 'embed',
        type: 'clip',
        normalize: false,
        inputs: [picture, second, third].map((input, row) => ({ input, row })),
        failed: [],
        shape: [3, 24],
      });
      const alone = await embed(second, ...clip!);
      expect(alone.rows).toEqual([rows[1]]);
      const unit = await embed(second, '--normalize', '--dtype', 'f16', ...clip!);
      const length = Math.hypot(...rows[1]);
      expect(unit.normalize).toBe(true);
      for (const [i, value] of unit.rows[0].entries()) expect(value).toBeCloseTo(rows[1][i] / length, 2);
    },
    PATIENCE,
  );

  test.each(['clip', 'siglip'])(
    '%s: texts from options and from a file, none of which depends on the others',
    async (family) => {
      const model = family === 'clip' ? clip! : siglip!;
      await writeFile(full('texts.txt'), '\ufeffa longer text of some words\r\n\r\nb\r\n');
      const found = await embed('--text', 'a cat', '--text', 'dog', '--text-file', inside('texts.txt'), ...model);
      const texts = ['a cat', 'dog', 'a longer text of some words', 'b'];
      expect(found.inputs).toEqual(texts.map((input, row) => ({ input, row })));
      expect(new Set(found.rows.map(String)).size).toBe(4);
      expect((await embed('--text', 'dog', ...model)).rows).toEqual([found.rows[1]]);
    },
    PATIENCE,
  );

  test(
    'writes .npy with the names beside it, or .json; both hold what is printed',
    async () => {
      await writeFile(full('list.txt'), `${picture}\n${second}\n`);
      const args = ['--file', inside('list.txt'), ...siglip!];
      const { rows, inputs, shape } = await embed(...args);
      const output = inside('out.npy');
      const { out, code, err } = await tessera(['embed', ...args, '--output', output]);
      expect({ code, err, out }).toEqual({
        code: 0,
        err: '',
        out: `2 rows of 32 in ${output}; which input each row is: ${output}.json\n`,
      });
      const got = await readNpy('out.npy');
      expect(got.shape).toEqual(shape);
      expect(got.data).toEqual(rows.flat().map(Math.fround));
      expect(JSON.parse(await readFile(full('out.npy.json'), 'utf8'))).toMatchObject({ inputs, shape });

      const summary = await embed(...args, '--output', inside('out.json'), '--json');
      expect(summary).toMatchObject({ inputs, shape, output: inside('out.json') });
      expect(summary.data).toBeUndefined();
      expect(JSON.parse(await readFile(full('out.json'), 'utf8'))).toMatchObject({ inputs, shape, data: rows.flat() });
      expect((await readdir(full('.'))).filter((name) => name.endsWith('.part'))).toEqual([]);
    },
    PATIENCE,
  );

  test(
    'a bad picture among others is reported and has no row',
    async () => {
      await writeFile(full('text.png'), 'hello');
      const args = [picture, 'none.png', inside('text.png'), second, ...clip!, '--output', inside('some.npy')];
      const { code, out, err } = await tessera(['embed', ...args]);
      expect({ code, err: err.replaceAll(folder, 'FOLDER') }).toMatchInlineSnapshot(`
        {
          "code": 2,
          "err": "error: [none.png] no such file: want a picture
        error: [FOLDER/text.png] cannot be read as a picture: this is no known file type, want PNG, JPEG or WebP
        error: [embed] left out 2 of 4 pictures, see above
        ",
        }
      `);
      expect(out).toMatch(/^2 rows of 24 in /);
      const { inputs, failed } = JSON.parse(await readFile(full('some.npy.json'), 'utf8'));
      expect(inputs).toEqual([picture, second].map((input, row) => ({ input, row })));
      expect(failed.map(({ input }: { input: string }) => input)).toEqual(['none.png', inside('text.png')]);
      expect((await readNpy('some.npy')).shape).toEqual([2, 24]);
    },
    PATIENCE,
  );

  test(
    'with no row there is no file; an old one stays',
    async () => {
      await writeFile(full('text.png'), 'hello');
      await writeFile(full('old.npy'), 'old');
      const { code, out } = await tessera([
        'embed',
        inside('text.png'),
        'none.png',
        ...clip!,
        '--output',
        inside('old.npy'),
      ]);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(await readFile(full('old.npy'), 'utf8')).toBe('old');
      expect((await readdir(full('.'))).filter((name) => /^old\.npy./.test(name))).toEqual([]);
    },
    PATIENCE,
  );

  test(
    'weights that give no numbers are a failure, and write nothing',
    async () => {
      const weights = { 'model.safetensors': withNumber('clip', 'visual_projection.weight', Number.NaN) };
      const broken = await asModel(tinyFolder('clip', weights), inside('broken'));
      const { code, out, err } = await tessera(['embed', picture, second, ...broken, '--output', inside('broken.npy')]);
      expect({ code, out, err }).toMatchInlineSnapshot(`
        {
          "code": 1,
          "err": "error: [embed] tests/goldens/cases/clip-processor/landscape.png: got NaN in its features, want numbers. Do the weights hold NaN or infinity, or numbers too large (if dtype is 'f16', try 'f32')?
        ",
          "out": "",
        }
      `);
      expect((await readdir(full('.'))).filter((name) => name.startsWith('broken.'))).toEqual([]);
    },
    PATIENCE,
  );
});

/** The only line on stderr of a command that was given something wrong. */
async function complaint(...args: string[]): Promise<string> {
  const { code, out, err } = await tessera(['embed', ...args]);
  expect({ code, out, lines: err.split('\n').length }).toEqual({ code: 2, out: '', lines: 2 });
  return err.trim().replaceAll(folder, 'FOLDER');
}

describe('mistakes', () => {
  test(
    'in what to embed',
    async () => {
      await writeFile(full('empty.txt'), '\n \n');
      await writeFile(full('bytes.txt'), new Uint8Array([0xff, 0xfe, 0x00]));
      const lines = [
        await complaint(...clip!),
        await complaint(picture, '--text', 'a cat', ...clip!),
        await complaint('--text', 'a cat', '--text', ' ', ...clip!),
        await complaint('--file', 'none.txt', ...clip!),
        await complaint('--file', 'src', ...clip!),
        await complaint('--file', '/dev/zero', ...clip!),
        await complaint('--file', inside('empty.txt'), ...clip!),
        await complaint('--text-file', inside('bytes.txt'), ...clip!),
        await complaint('none.png', ...clip!),
        await complaint(picture, '--batch-size', '0', ...clip!),
      ];
      expect(lines.join('\n')).toMatchInlineSnapshot(`
        "error: [embed] nothing to embed: want pictures, --file, --text or --text-file
        error: [embed] pictures and texts: want one kind in one call
        error: [embed] text 2: got " ", want a text
        error: [none.txt] no such file: want a text file
        error: [src] is a folder: want a text file
        error: [/dev/zero] is a device: want a text file
        error: [FOLDER/empty.txt] is empty: want something on each line
        error: [FOLDER/bytes.txt] cannot be read: this is no text in UTF-8
        error: [none.png] no such file: want a picture
        error: option '--batch-size <n>' argument '0' is invalid. Want a whole number from 1."
      `);
    },
    PATIENCE,
  );

  test(
    'in the output, before any work',
    async () => {
      await mkdir(full('folder.npy'));
      await mkdir(full('taken.npy.json'));
      const lines = [
        await complaint('none.png', ...clip!, '--output', 'out.csv'),
        await complaint('none.png', ...clip!, '--output', 'out'),
        await complaint('none.png', ...clip!, '--output', inside('folder.npy')),
        await complaint('none.png', ...clip!, '--output', inside('taken.npy')),
        await complaint('none.png', ...clip!, '--output', inside('nowhere/out.json')),
        await complaint('none.png', ...clip!, '--output', 'package.json/out.json'),
      ];
      expect(lines.join('\n')).toMatchInlineSnapshot(`
        "error: [out.csv] not a type that can be written: got .csv, want .npy or .json
        error: [out] not a type that can be written: got no ending, want .npy or .json
        error: [FOLDER/folder.npy] cannot be written: it is a folder
        error: [FOLDER/taken.npy.json] cannot be written: it is a folder
        error: [FOLDER/nowhere/out.json] cannot be written: no such folder
        error: [package.json/out.json] cannot be written: no such folder"
      `);
    },
    PATIENCE,
  );

  test(
    'in models',
    async () => {
      const lines = [
        await complaint(picture, '--model', 'nowhere'),
        await complaint('--text', 'a', '--model', 'tests/goldens/cases/clip-text'),
      ];
      expect(lines.join('\n')).toMatchInlineSnapshot(`
        "error: [nowhere] no such file or folder, nor an id of the hub (owner/name)
        error: [clip-text] not a model that can be used here: got model_type "clip_text_model", want one of clip, siglip"
      `);
    },
    PATIENCE,
  );
});
