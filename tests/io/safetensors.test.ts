// The safetensors reader and writer against the reference library's files, and against damage of every kind.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  bytesPer,
  count,
  type StoredDtype,
  type StoredTensor,
  saveSafetensors,
  writeSafetensors,
} from '../../src/io/safetensors.ts';
import { fixturePath, fromBase64, headerOf, rawFile, readJson, valueOrMessage } from './support.ts';

type Reference = {
  file: string;
  metadata: Record<string, string>;
  tensors: Record<string, { dtype: StoredDtype; shape: number[]; data: string }>;
};
const { files } = readJson(fixturePath('safetensors.json')) as { files: Record<string, Reference> };
const cases = Object.entries(files);
const stored = ({ tensors }: Reference): [string, StoredTensor][] =>
  Object.entries(tensors).map(([name, { data, ...plan }]) => [name, { ...plan, data: fromBase64(data) }]);

describe("the reference library's files", () => {
  test.each(cases)('%s: read', async (_, want) => {
    const file = fromBase64(want.file);
    const { tensors, metadata } = await headerOf(file);
    expect(Object.fromEntries(metadata)).toEqual(want.metadata);
    expect([...tensors.keys()].sort()).toEqual(Object.keys(want.tensors).sort());
    for (const [name, tensor] of stored(want)) {
      const info = tensors.get(name)!;
      expect([info.name, info.dtype, info.shape]).toEqual([name, tensor.dtype, tensor.shape]);
      expect(file.slice(info.begin, info.end)).toEqual(tensor.data);
    }
  });

  test.each(cases)('%s: written again, byte for byte', (_, want) => {
    expect(writeSafetensors(stored(want).reverse(), Object.entries(want.metadata))).toEqual(fromBase64(want.file));
  });
});

describe('saveSafetensors', () => {
  let folder = '';
  beforeAll(() => void (folder = mkdtempSync(`${tmpdir()}/tessera-io-`)));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('writes the same file, one tensor at a time', async () => {
    const want = files.shapes!;
    const all = new Map(stored(want));
    const asked: string[] = [];
    await saveSafetensors(
      `${folder}/a.safetensors`,
      all,
      async (name) => {
        asked.push(name);
        return all.get(name)!.data;
      },
      [['format', 'pt']],
    );
    expect(new Uint8Array(readFileSync(`${folder}/a.safetensors`))).toEqual(fromBase64(want.file));
    expect(asked.sort()).toEqual([...all.keys()].sort());
  });

  test('after an error the old file is there and nothing else', async () => {
    const path = `${folder}/b.safetensors`;
    writeFileSync(path, 'old');
    const plan: [string, StoredTensor][] = [['a', { dtype: 'F32', shape: [2], data: new Float32Array(2) }]];
    await expect(
      saveSafetensors(path, plan, () => {
        throw new Error('lost');
      }),
    ).rejects.toThrow('lost');
    await expect(saveSafetensors(path, plan, () => new Float32Array(3))).rejects.toThrow(
      '[safetensors] a: got 12 bytes, want 8 for F32 [2]',
    );
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder).filter((name) => name.startsWith('b'))).toEqual(['b.safetensors']);
    const { message } = await valueOrMessage(() =>
      saveSafetensors(`${folder}/none/c.safetensors`, [], () => new Uint8Array()),
    );
    expect(message).toContain('cannot be written');
  });
});

test('a name can be written once', () => {
  const tensor: StoredTensor = { dtype: 'U8', shape: [1], data: new Uint8Array(1) };
  expect(() => writeSafetensors([['__metadata__', tensor]])).toThrow('the name "__metadata__" is taken');
});

const entry = (fields: string) => `{"a":{${fields}}}`;
const one = entry('"dtype":"F32","shape":[1],"data_offsets":[0,4]');

describe('damaged headers, each with its own word', () => {
  const damaged: [string, Uint8Array, string][] = [
    ['too short', new Uint8Array([1, 2, 3]), 'too short for a safetensors file: got 3 bytes'],
    ['a length past the end', rawFile(one, 4).slice(0, 30), 'cut off in the header: got 30 bytes, want at least 62'],
    [
      'a length over the limit',
      Uint8Array.from([1, 225, 245, 5, 0, 0, 0, 0, 123, 0]),
      'not a safetensors file: got a header length of 100000001, want at most 100000000',
    ],
    [
      'an enormous length',
      Uint8Array.from([255, 255, 255, 255, 255, 255, 255, 255, 123, 0]),
      'header length of 18446744073709552000',
    ],
    ['no object', rawFile(' {}'), "starts with byte 32, want '{'"],
    ['not UTF-8', rawFile(Uint8Array.from([123, 34, 255, 34, 125])), 'damaged header: it is not UTF-8 text'],
    ['not JSON', rawFile('{"a":}'), 'not valid JSON at line 1, column 6: got "}", want a value'],
    ['text after the object', rawFile(`${one}x`, 4), 'got "x", want the end of the text'],
    ['zero bytes after the object', rawFile(`${one}\0`, 4), 'want the end of the text'],
    [
      'a name twice',
      rawFile(
        `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
        1,
      ),
      'want each key once, but "a" was there before',
    ],
    [
      'a name twice, once escaped',
      rawFile(
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      ),
      'column 54: got "\\"\\\\u0061\\":{\\"d", want each key once, but "a"',
    ],
    [
      'a field twice',
      rawFile(entry('"dtype":"U8","shape":[1],"sh\\u0061pe":[2],"data_offsets":[0,1]'), 1),
      'want each key once, but "shape"',
    ],
    [
      'half a surrogate pair',
      rawFile('{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
      'want a string without half a surrogate pair',
    ],
    ['a raw control character', rawFile('{"a\nb":1}'), 'want a string without control characters'],
    ['deep nesting', rawFile(`{"a":${'['.repeat(200)}`), 'want at most 128 levels of nesting'],
    ['no object as entry', rawFile('{"a":[]}'), 'tensor "a": got no object {dtype, shape, data_offsets}'],
    [
      'no dtype',
      rawFile(entry('"shape":[1],"data_offsets":[0,4]'), 4),
      'unknown dtype: got nothing, want one of BOOL U8',
    ],
    [
      'an unknown dtype',
      rawFile(entry('"dtype":"F31","shape":[1],"data_offsets":[0,4]'), 4),
      'unknown dtype: got "F31"',
    ],
    [
      'a dtype that is in every object',
      rawFile(entry('"dtype":"constructor","shape":[1],"data_offsets":[0,4]'), 4),
      'unknown dtype: got "constructor"',
    ],
    [
      'a sub-byte dtype',
      rawFile(entry('"dtype":"F4","shape":[2],"data_offsets":[0,1]'), 1),
      'F4 packs several values in a byte, which is not supported',
    ],
    ['no shape', rawFile(entry('"dtype":"F32","data_offsets":[0,4]'), 4), 'bad shape: got nothing'],
    [
      'a negative size',
      rawFile(entry('"dtype":"F32","shape":[-1],"data_offsets":[0,4]'), 4),
      'got "-1],\\"data_of", want a value',
    ],
    ['a fraction', rawFile(entry('"dtype":"F32","shape":[1.0],"data_offsets":[0,4]'), 4), 'want a value'],
    [
      'a size over 2^53',
      rawFile(entry('"dtype":"F32","shape":[9007199254740992],"data_offsets":[0,4]'), 4),
      'bad shape: got [9007199254740992]',
    ],
    ['a text as size', rawFile(entry('"dtype":"F32","shape":["1"],"data_offsets":[0,4]'), 4), 'bad shape: got ["1"]'],
    [
      'a product over 2^53',
      rawFile(entry('"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]'), 4),
      'too large: shape [4294967296,4294967296]',
    ],
    ['no offsets', rawFile(entry('"dtype":"F32","shape":[1]'), 4), 'bad data_offsets: got nothing, want [begin, end]'],
    [
      'three offsets',
      rawFile(entry('"dtype":"F32","shape":[1],"data_offsets":[0,4,8]'), 4),
      'bad data_offsets: got [0,4,8]',
    ],
    [
      'offsets the wrong way round',
      rawFile(entry('"dtype":"F32","shape":[1],"data_offsets":[4,0]'), 4),
      'got data_offsets [4,0], want 4 bytes for F32 [1]',
    ],
    [
      'bytes that do not fit the shape',
      rawFile(entry('"dtype":"F16","shape":[3],"data_offsets":[0,4]'), 4),
      'got data_offsets [0,4], want 6 bytes for F16 [3]',
    ],
    ['data cut off', rawFile(one, 3), 'the file is cut off: got 65 bytes, want at least 66'],
    ['bytes after the last tensor', rawFile(one, 5), '1 bytes after the last tensor: the file is damaged'],
    [
      'a gap',
      rawFile(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}',
        3,
      ),
      'tensor "b" leaves a gap before it: it starts at 2, want 1',
    ],
    [
      'an overlap',
      rawFile(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
        3,
      ),
      'tensor "b" overlaps the tensor before it: it starts at 1, want 2',
    ],
    ['metadata that is no object', rawFile('{"__metadata__":[]}'), '__metadata__ is not an object of texts'],
    ['metadata of numbers', rawFile('{"__metadata__":{"a":1}}'), '__metadata__ is not an object of texts'],
  ];
  test.each(damaged)('%s', async (_, file, want) => {
    const { message } = await valueOrMessage(() => headerOf(file));
    expect(message).toContain('[model.safetensors] ');
    expect(message).toContain(want);
  });

  test('what the reference library accepts too: spaces around, unknown fields', async () => {
    const spaced = rawFile(
      `{ "a" :\n{"dtype":"F32","new":{"x":[true,null]},"shape":[ 1 ],"data_offsets":[0,4]} }  \t\r\n`,
      4,
    );
    expect((await headerOf(spaced)).tensors.get('a')!.shape).toEqual([1]);
  });
});

describe('other kinds of file are named, with what to do', () => {
  const text = (value: string) => Uint8Array.from(value, (c) => c.charCodeAt(0));
  const kinds: [string, Uint8Array, RegExp][] = [
    [
      'a torch zip',
      text('PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl'),
      /PyTorch file \(pickle in a zip\).*safetensors\.torch\.save_file/,
    ],
    ['a pickle', text('\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'), /old PyTorch file \(pickle\).*save_file/],
    [
      'a git-lfs pointer',
      text('version https://git-lfs.github.com/spec/v1\noid sha256:1\n'),
      /git-lfs pointer.*git lfs pull/,
    ],
    ['an HTML page', text('\n<!doctype html><html><body>Sign in'), /HTML page.*get the file again/],
    ['an XML error', text('<?xml version="1.0"?><Error><Code>AccessDenied'), /XML document/],
    ['a JSON error', text('{"error":"Repository not found"}'), /JSON text/],
    ['nothing', text(''), /the file is empty/],
    ['zeros', new Uint8Array(600), /only zeros/],
    ['a GGUF file', text('GGUF\x03\0\0\0\0\0\0\0\0'), /GGUF file \(llama\.cpp\)/],
    ['a picture', text('\x89PNG\r\n\x1a\n\0\0\0\rIHDR'), /this is a PNG picture, not weights/],
  ];
  test.each(kinds)('%s', async (_, file, want) => {
    expect((await valueOrMessage(() => headerOf(file))).message).toMatch(want);
  });
});

describe('fuzzing', () => {
  test('any bytes: a header or a UserError', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (bytes) => {
        await valueOrMessage(() => headerOf(bytes));
      }),
      { numRuns: 1000 },
    );
  });

  test('any JSON as header', async () => {
    const fields = fc.record(
      {
        dtype: fc.constantFrom('F32', 'F16', 'U8', 'F4', 1, null),
        shape: fc.oneof(fc.array(fc.integer({ min: -1, max: 4 }), { maxLength: 3 }), fc.jsonValue()),
        data_offsets: fc.oneof(fc.array(fc.integer({ min: -1, max: 40 }), { maxLength: 3 }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    const header = fc.oneof(
      fc.dictionary(fc.string(), fc.oneof(fields, fc.jsonValue()), { maxKeys: 3 }),
      fc.jsonValue(),
    );
    await fc.assert(
      fc.asyncProperty(header, fc.nat(40), async (value, bytes) => {
        await valueOrMessage(() => headerOf(rawFile(JSON.stringify(value), bytes)));
      }),
      { numRuns: 1000 },
    );
  });

  test('good files with changed, lost or repeated bytes', async () => {
    const name = fc.constantFrom(...Object.keys(files));
    const edit = fc.tuple(
      fc.constantFrom('set', 'cut', 'repeat'),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.nat(255),
    );
    await fc.assert(
      fc.asyncProperty(name, fc.array(edit, { minLength: 1, maxLength: 5 }), async (which, edits) => {
        let file = fromBase64(files[which]!.file);
        for (const [kind, where, value] of edits) {
          const at = Math.floor(where * Math.max(0, file.length - 1));
          if (kind === 'set') file[at] = value;
          else if (kind === 'cut') file = file.slice(0, at);
          else file = new Uint8Array([...file.subarray(0, at), ...file.subarray(Math.max(0, at - (value & 15)))]);
        }
        const { value } = await valueOrMessage(() => headerOf(file));
        const used = [...(value?.tensors.values() ?? [])].reduce(
          (sum, t) => sum + count(t.shape) * bytesPer(t.dtype),
          0,
        );
        if (value) expect(used).toBeLessThanOrEqual(file.length);
      }),
      { numRuns: 1000 },
    );
  });

  test('what is written is read back', async () => {
    const tensor = fc.record({
      dtype: fc.constantFrom<StoredDtype>('F32', 'BF16', 'U8', 'I64', 'F8_E4M3'),
      shape: fc.array(fc.nat(4), { maxLength: 4 }),
    });
    const unicode = fc.string({ unit: 'grapheme' });
    await fc.assert(
      fc.asyncProperty(fc.dictionary(unicode, tensor), fc.dictionary(unicode, unicode), async (plans, notes) => {
        const all = Object.entries(plans).map(([name, plan], i): [string, StoredTensor] => [
          name,
          { ...plan, data: new Uint8Array(count(plan.shape) * bytesPer(plan.dtype)).fill(i + 1) },
        ]);
        const file = writeSafetensors(all, Object.entries(notes));
        const header = await headerOf(file);
        expect(Object.fromEntries(header.metadata)).toEqual(notes);
        expect(header.tensors.size).toBe(all.length);
        for (const [name, { dtype, shape, data }] of all) {
          const info = header.tensors.get(name)!;
          expect([info.dtype, info.shape]).toEqual([dtype, shape]);
          expect(file.slice(info.begin, info.end)).toEqual(data);
        }
      }),
      { numRuns: 200 },
    );
  });
});
