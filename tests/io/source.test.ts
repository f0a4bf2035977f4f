// Byte sources and folders: the same on disk, from File objects, in memory; and JSON with positions.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseJson, parseObject } from '../../src/io/json.ts';
import {
  diskFolder,
  type Folder,
  fileFolder,
  fromBlob,
  fromBytes,
  fromPath,
  memoryFolder,
  plainPath,
} from '../../src/io/source.ts';
import { valueOrMessage } from './support.ts';

const bytes = Uint8Array.from({ length: 300 }, (_, i) => i % 251);
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/tessera-io-`);
  mkdirSync(`${folder}/unet`);
  writeFileSync(`${folder}/data.bin`, bytes);
  writeFileSync(`${folder}/config.json`, '\ufeff{"a": "é"}');
  writeFileSync(`${folder}/unet/part.txt`, 'part');
  symlinkSync(`${folder}/data.bin`, `${folder}/link.bin`);
  symlinkSync(`${folder}/gone`, `${folder}/broken.bin`);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.each([
  ['a path', () => fromPath(`${folder}/data.bin`), 'data.bin'],
  ['a blob', async () => fromBlob(new File([bytes], 'data.bin')), 'data.bin'],
  ['bytes', async () => fromBytes(bytes, 'data.bin'), 'data.bin'],
] as const)('%s as a source', (_, open, name) => {
  test('reads any range, exactly', async () => {
    const source = await open();
    expect([source.name, source.size]).toEqual([name, 300]);
    const ranges = fc.tuple(fc.nat(300), fc.nat(300)).map(([a, b]) => [Math.min(a, b), Math.abs(a - b)] as const);
    await fc.assert(
      fc.asyncProperty(fc.array(ranges, { maxLength: 5 }), async (all) => {
        const got = await Promise.all(all.map(([offset, length]) => source.read(offset, length)));
        expect(got).toEqual(all.map(([offset, length]) => bytes.slice(offset, offset + length)));
      }),
      { numRuns: 30 },
    );
    await source.close?.();
  });

  test('refuses ranges that are not there', async () => {
    const source = await open();
    expect((await valueOrMessage(() => source.read(290, 11))).message).toBe(
      '[data.bin] the file is too short: got 300 bytes, want 301. Was it cut off, or changed while it was read? Get the file again.',
    );
    await expect(source.read(-1, 2)).rejects.toThrow('[data.bin] read: got offset -1, length 2, want integers >= 0');
    await expect(source.read(0, 0.5)).rejects.toThrow('want integers >= 0');
    await source.close?.();
    await source.close?.();
    await expect(source.read(0, 1)).rejects.toThrow('[data.bin] read after close');
  });
});

test('what is read is a copy', async () => {
  const source = fromBytes(bytes);
  (await source.read(0, 4)).fill(9);
  expect(await source.read(0, 2)).toEqual(Uint8Array.from([0, 1]));
});

test('a file that shrinks while it is read', async () => {
  writeFileSync(`${folder}/shrinks`, bytes);
  const source = await fromPath(`${folder}/shrinks`);
  truncateSync(`${folder}/shrinks`, 100);
  expect((await valueOrMessage(() => source.read(50, 100))).message).toContain('too short: got 100 bytes, want 150');
  await source.close?.();
});

test('paths that cannot be opened', async () => {
  expect((await valueOrMessage(() => fromPath(`${folder}/none`))).message).toMatch(
    /none\] cannot be opened: ENOENT: no such file or directory$/,
  );
  expect((await valueOrMessage(() => fromPath(`${folder}/unet`))).message).toContain('unet] is not a file');
  const why = await valueOrMessage(() => diskFolder(folder).open('x'.repeat(300))); // as without permission: it may be there
  expect(why.message).toMatch(/x\] cannot be read: ENAMETOOLONG/);
});

const named = (path: string, content: BlobPart) => {
  const file = new File([content], path.split('/').at(-1)!);
  Object.defineProperty(file, 'webkitRelativePath', { value: path });
  return file;
};
const config = new TextEncoder().encode('\ufeff{"a": "é"}');

describe.each<[string, () => Folder]>([
  ['disk', () => diskFolder(folder)],
  [
    'files of a chosen folder',
    () =>
      fileFolder([named('top/data.bin', bytes), named('top/config.json', config), named('top/unet/part.txt', 'part')]),
  ],
  [
    'memory',
    () =>
      memoryFolder([
        ['data.bin', bytes],
        ['config.json', config],
        ['unet/part.txt', 'part'],
      ]),
  ],
])('a folder: %s', (kind, make) => {
  test('lists, opens, reads text, goes down', async () => {
    const here = make();
    const more = kind === 'disk' ? ['broken.bin', 'link.bin', 'shrinks'] : [];
    expect(await here.list()).toEqual(['config.json', 'data.bin', ...more].sort());
    expect(await here.text('config.json')).toBe('{"a": "é"}');
    const source = (await here.open('data.bin'))!;
    expect(await source.read(0, 300)).toEqual(bytes);
    await source.close?.();
    expect([
      await here.open('none'),
      await here.text('none'),
      await here.open('unet'),
      await here.at('none').text('x'),
    ]).toEqual([undefined, undefined, undefined, undefined]);
    expect([await here.at('unet').text('part.txt'), await here.text('unet/part.txt')]).toEqual(['part', 'part']);
    expect(await here.at('unet').list()).toEqual(['part.txt']);
    expect((await valueOrMessage(() => here.text('data.bin'))).message).toBe('[data.bin] is not text: want UTF-8');
  });

  test('stays inside', async () => {
    for (const name of ['../data.bin', '/etc/passwd', 'a//b', 'unet/../data.bin', 'a\\b', 'C:x', '', '.', 'a\0']) {
      expect((await valueOrMessage(() => make().open(name))).message).toContain(
        `not a file name inside the folder: ${JSON.stringify(name)}`,
      );
    }
    expect((await valueOrMessage(() => make().at('..'))).message).toContain('not a file name inside');
  });
});

test('links on disk are followed, broken ones are files that are not there', async () => {
  const linked = (await diskFolder(folder).open('link.bin'))!;
  expect(linked.size).toBe(300);
  await linked.close?.();
  expect(await diskFolder(folder).open('broken.bin')).toBeUndefined();
});

test('files given one by one', async () => {
  const files = fileFolder([new File(['x'], 'a.txt'), new Blob(['y'])]);
  expect([files.name, await files.list(), await files.text('blob-1')]).toEqual(['files', ['a.txt', 'blob-1'], 'y']);
  expect(() => fileFolder([new File(['x'], 'a'), new File(['y'], 'a')])).toThrow(
    '[a] given twice: want each file once',
  );
  expect(plainPath('a/b.c-d', 'x')).toBe('a/b.c-d');
});

describe('JSON', () => {
  test('errors name the place', () => {
    const cases: [string, string][] = [
      ['', 'line 1, column 1: got the end of the text, want a value'],
      ['{"a": 1,\n  "b": }', 'line 2, column 8: got "}", want a value'],
      ['{"a" 1}', `line 1, column 6: got "1}", want ':'`],
      ['{a: 1}', 'line 1, column 2: got "a: 1}", want a key in double quotes'],
      ['[1, 2', `line 1, column 6: got the end of the text, want ',' or ']'`],
      ['{"a": "b', 'line 1, column 7: got "\\"b", want a string that ends'],
      [
        '{"a": "\\x"}',
        'line 1, column 7: got "\\"\\\\x\\"}", want a string without control characters or unknown escapes',
      ],
      ['{"a": 01}', `line 1, column 8: got "1}", want ',' or '}'`],
      ['{"a": NaN}', 'line 1, column 7: got "NaN}", want a value'],
      ['{"a": 1}}', 'line 1, column 9: got "}", want the end of the text'],
    ];
    for (const [text, want] of cases)
      expect(() => parseJson(text, 'config.json')).toThrow(`[config.json] not valid JSON at ${want}`);
  });

  test('is what JSON.parse gives; a config must be an object', async () => {
    expect(parseJson('{"a":1,"a":2}', 'x')).toEqual({ a: 2 });
    expect(() => parseObject('[1]', 'config.json')).toThrow('[config.json] got an array, want a JSON object {...}');
    expect(() => parseObject('null', 'config.json')).toThrow('got null');
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.json(), fc.string(), fc.string({ unit: fc.constantFrom(...'[]{}":,1e-. \\tnu') })),
        async (text) => {
          const { value, message } = await valueOrMessage(() => parseJson(text, 'x'));
          if (message === undefined) expect(value).toEqual(JSON.parse(text));
          else expect(() => JSON.parse(text)).toThrow();
        },
      ),
      { numRuns: 500 },
    );
  });
});
