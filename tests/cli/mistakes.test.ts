// Help, and one line for every mistake.
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeSafetensors } from '../../src/io/safetensors.ts';
import { golden, pictures, tinyFolder } from '../tasks/support.ts';
import { asModel, build, makeFolder, PATIENCE, ROOT, relative, tessera } from './run.ts';

const LABELS = ['--labels', 'a cat, dog'];
const picture = relative(pictures[0]!);
let folder: string;
let clip: string[] = [];

beforeAll(async () => {
  folder = await makeFolder();
  clip = await asModel(tinyFolder('clip'), path.join(folder, 'clip'));
  await build();
}, PATIENCE);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

describe('help', () => {
  test.each([
    ['--help'],
    ['classify', '--help'],
    ['embed', '--help'],
    ['inspect', '--help'],
    ['start', '--help'],
    ['doctor', '--help'],
    ['serve', '--help'],
    ['help', 'inspect'],
    [],
  ])('%s %s', async (...args) => {
    const { code, out, err } = await tessera(args);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^Usage: tessera /);
    expect(out).toMatch(/Examples:\n( {2}tessera .*\n?)+/);
  });

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
    expect(await complaint('help', 'nonsense')).toBe("error: unknown command 'nonsense'");
    expect(await complaint('classify')).toMatchInlineSnapshot(`"error: missing required argument 'pictures'"`);
    expect(await complaint('classify', picture, '--lables', 'a')).toMatchInlineSnapshot(
      `"error: unknown option '--lables' (Did you mean --labels?)"`,
    );
    expect(await complaint('classify', picture, '--top', '0')).toMatchInlineSnapshot(
      `"error: option '--top <n>' argument '0' is invalid. Want a whole number from 1."`,
    );
    expect(await complaint('classify', picture, '--dtype', 'q5')).toMatchInlineSnapshot(
      `"error: option '--dtype <type>' argument 'q5' is invalid. Allowed choices are f32, f16, q8, q4."`,
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
    expect(await complaint('classify', picture, ...clip)).toMatchInlineSnapshot(
      `"error: [classify] no labels: want some, such as --labels "a cat,a dog""`,
    );
    expect(await complaint('classify', picture, ...LABELS, ...clip, '--template', 'x')).toMatchInlineSnapshot(
      `"error: [zero-shot-image-classification] hypothesis_template: got "x", want {} where the label goes"`,
    );
  });

  test(
    'in pictures',
    async () => {
      const text = path.join(folder, 'text.png');
      await writeFile(path.join(ROOT, text), 'hello');
      expect(await complaint('classify', 'none.png', ...LABELS, ...clip)).toMatchInlineSnapshot(
        `"error: [none.png] no such file: want a picture"`,
      );
      expect(await complaint('classify', 'src', ...LABELS, ...clip)).toMatchInlineSnapshot(
        `"error: [src] is a folder: want a picture in it"`,
      );
      expect(await complaint('classify', text, ...LABELS, ...clip)).toMatchInlineSnapshot(
        `"error: [FOLDER/text.png] cannot be read as a picture: this is no known file type, want PNG, JPEG or WebP"`,
      );
      expect(await complaint('classify', 'x'.repeat(300), ...LABELS, ...clip)).toMatch(
        /^error: \[x{300}\] cannot be read: ENAMETOOLONG/,
      );
      expect(await complaint('classify', '/dev/zero', ...LABELS, ...clip)).toMatchInlineSnapshot(
        `"error: [/dev/zero] too large for a picture: got more than 256 MiB. Is it a file that ends?"`,
      );
      expect(await complaint('classify', 'http://127.0.0.1:1/x.png', ...LABELS, ...clip)).toMatch(
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
    const { code, out, err } = await tessera(['classify', picture, ...LABELS, ...clip, '--adapter', 'no such']);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    const lines = err.split('\n').filter((line) => !line.startsWith('Warning: ')); // Dawn's, of the system's driver
    expect(lines).toEqual([
      expect.stringMatching(
        /^error: \[gpu\] no WebGPU adapter: got none, want 'no such'\. Tried: .*; .* Or try --adapter software\.$/,
      ),
      '',
    ]);
  });

  test(
    'in the cache folder: the folder for temporary files will do',
    async () => {
      const env = { XDG_CACHE_HOME: '/proc', TMPDIR: path.join(ROOT, folder) };
      const args = ['classify', picture, ...LABELS, ...clip, '--adapter', 'software'];
      const { code, err } = await tessera(args, { env });
      const [own] = (await readdir(path.join(ROOT, folder))).filter((name) => name.startsWith('tessera-'));
      expect({ code, err }).toEqual({
        code: 0,
        err: expect.stringMatching(
          new RegExp(`^\\[gpu\\] SwiftShader is kept in .*/${own}/[^\n]*/proc/tessera[^\n]*\n$`),
        ),
      });
    },
    PATIENCE,
  );

  test('--debug shows where they come from', async () => {
    const { code, err } = await tessera(['inspect', 'nowhere', '--debug']);
    expect(code).toBe(2);
    expect(err).toMatch(
      /^error: UserError: \[nowhere\] no such file or folder, nor an id of the hub \(owner\/name\)\n\s+at /,
    );
  });
});
