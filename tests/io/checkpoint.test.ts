// Checkpoints: which file is taken, shards and their index, and what is said when something is missing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Checkpoint, chooseWeights, openCheckpoint } from '../../src/io/checkpoint.ts';
import { writeSafetensors } from '../../src/io/safetensors.ts';
import { memoryFolder } from '../../src/io/source.ts';
import { goldenPath, readBytes, readJson, valueOrMessage } from './support.ts';

/** A file with one F32 tensor [1] per name, holding its place in the list. */
const weights = (...names: string[]) =>
  writeSafetensors(
    names.map((name, i) => [name, { dtype: 'F32', shape: [1], data: new Float32Array([i]) }]),
    [['format', 'pt']],
  );
const index = (map: unknown) => JSON.stringify({ metadata: { total_size: 12 }, weight_map: map });
const SHARDS = {
  'config.json': '{"model_type": "clip"}',
  'model-00001-of-00002.safetensors': weights('a', 'b'),
  'model-00002-of-00002.safetensors': weights('c', 'spare'),
  'model.safetensors.index.json': index({
    a: 'model-00001-of-00002.safetensors',
    b: 'model-00001-of-00002.safetensors',
    c: 'model-00002-of-00002.safetensors',
  }),
};
const inMemory = (files: Record<string, Uint8Array | string>) => memoryFolder(Object.entries(files), 'model');
const open = (files: Record<string, Uint8Array | string>, options = {}) => openCheckpoint(inMemory(files), options);
const names = (checkpoint: Checkpoint) => [...checkpoint.tensors.keys()].sort();

test('a golden folder: config, tensors, other files', async () => {
  const checkpoint = await openCheckpoint(goldenPath('clip-text'));
  expect([checkpoint.name, checkpoint.config, checkpoint.unexpected]).toEqual([
    'clip-text',
    readJson(goldenPath('clip-text/config.json')),
    [],
  ]);
  const { info, source } = checkpoint.tensors.get('text_model.final_layer_norm.bias')!;
  expect([info.dtype, info.shape, (await source.read(info.begin, 4)).length]).toEqual(['F32', [32], 4]);
  expect([await checkpoint.text('none.txt'), await checkpoint.json('golden.json')]).toEqual([
    undefined,
    readJson(goldenPath('clip-text/golden.json')),
  ]);
  expect(Object.fromEntries(checkpoint.metadata)).toEqual({ format: 'pt' });
  await checkpoint.close();
  await expect(source.read(0, 1)).rejects.toThrow('read after close');
});

test('shards by their index', async () => {
  const checkpoint = await open(SHARDS);
  expect([names(checkpoint), checkpoint.unexpected, checkpoint.config]).toEqual([
    ['a', 'b', 'c'],
    ['spare'],
    { model_type: 'clip' },
  ]);
  expect(checkpoint.tensors.get('c')!.source.name).toBe('model-00002-of-00002.safetensors');
});

describe('which weights', () => {
  const cases: [string[], string | undefined, string][] = [
    [
      ['config.json', 'model.safetensors', 'pytorch_model.bin', 'model.fp16.safetensors'],
      undefined,
      'model.safetensors',
    ],
    [['model.safetensors', 'model.fp16.safetensors'], 'fp16', 'model.fp16.safetensors'],
    [['model.fp16.safetensors', 'flax_model.msgpack'], undefined, 'model.fp16.safetensors'],
    [
      ['diffusion_pytorch_model.safetensors', 'diffusion_pytorch_model.fp16.safetensors'],
      undefined,
      'diffusion_pytorch_model.safetensors',
    ],
    [
      [
        'diffusion_pytorch_model.safetensors.index.fp16.json',
        'diffusion_pytorch_model.fp16-00001-of-00002.safetensors',
      ],
      'fp16',
      'diffusion_pytorch_model.safetensors.index.fp16.json',
    ],
    [
      [
        'diffusion_pytorch_model.safetensors.index.fp16.json',
        'diffusion_pytorch_model.fp16-00001-of-00001.safetensors',
      ],
      undefined,
      'diffusion_pytorch_model.safetensors.index.fp16.json',
    ],
    [
      ['model.safetensors.index.json', 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'],
      undefined,
      'model.safetensors.index.json',
    ],
    [['open_clip_model.safetensors', 'open_clip_pytorch_model.bin'], undefined, 'open_clip_model.safetensors'],
    [['ViT-B-32.safetensors', 'README.md'], undefined, 'ViT-B-32.safetensors'],
  ];
  test.each(cases)('%j, variant %s: %s', (files, variant, want) =>
    expect(chooseWeights(files, 'x', variant)).toBe(want),
  );

  const refused: [string[], string | undefined, string][] = [
    [[], undefined, '[x] no weights: got no files, want model.safetensors or another .safetensors file'],
    [['config.json', 'README.md'], undefined, 'no weights: got config.json, README.md, want'],
    [['model.safetensors'], 'fp16', 'want weights of variant fp16'],
    [
      ['a.safetensors', 'b.safetensors'],
      undefined,
      'several weight files: a.safetensors, b.safetensors. Give the one you mean',
    ],
    [['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'], undefined, 'shards without an index'],
    [
      ['pytorch_model.bin', 'config.json'],
      undefined,
      'only pytorch_model.bin: this is a PyTorch file (pickle in a zip), which can run code',
    ],
    [['v1-5-pruned.ckpt'], undefined, 'only v1-5-pruned.ckpt'],
    [['model_index.json'], undefined, 'a diffusers pipeline, not one model: want one of its folders'],
  ];
  test.each(refused)('%j, variant %s is refused', (files, variant, want) =>
    expect(() => chooseWeights(files, 'x', variant)).toThrow(want),
  );
});

describe('an index that does not fit', () => {
  const cases: [string, Record<string, string | Uint8Array>, string][] = [
    [
      'a missing shard',
      { 'model.safetensors.index.json': index({ a: 'model-00003-of-00003.safetensors' }) },
      '[model] no file model-00003-of-00003.safetensors: a shard that model.safetensors.index.json names is missing. Get it too.',
    ],
    [
      'a tensor not in its shard',
      { 'model.safetensors.index.json': index({ c: 'model-00001-of-00002.safetensors' }) },
      '[model.safetensors.index.json] tensor "c" is not in its shard model-00001-of-00002.safetensors',
    ],
    [
      'a path out of the folder',
      { 'model.safetensors.index.json': index({ a: '../secret.safetensors' }) },
      '[model.safetensors.index.json] not a file name inside the folder: "../secret.safetensors"',
    ],
    [
      'an absolute path',
      { 'model.safetensors.index.json': index({ a: '/etc/passwd' }) },
      'not a file name inside the folder: "/etc/passwd"',
    ],
    [
      'bad JSON',
      { 'model.safetensors.index.json': '{"weight_map": {\n"a": }' },
      '[model.safetensors.index.json] not valid JSON at line 2, column 6: got "}", want a value',
    ],
    [
      'no weight_map',
      { 'model.safetensors.index.json': '{"weights": {}}' },
      '[model.safetensors.index.json] no weight_map: want {"weight_map": {tensor: file}}',
    ],
    ['a number as file', { 'model.safetensors.index.json': index({ a: 1 }) }, 'weight_map of a: got no file name'],
    [
      'a shard that is no safetensors file',
      { 'model-00001-of-00002.safetensors': 'version https://git-lfs.github.com/spec/v1\n' },
      '[model-00001-of-00002.safetensors] this is a git-lfs pointer',
    ],
    ['a bad config', { 'config.json': '[]' }, '[config.json] got an array, want a JSON object {...}'],
  ];
  test.each(cases)('%s', async (_, change, want) => {
    expect((await valueOrMessage(() => open({ ...SHARDS, ...change }))).message).toContain(want);
  });
});

describe('one file', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(`${tmpdir()}/tessera-io-`);
    writeFileSync(`${folder}/model.safetensors`, weights('a'));
    writeFileSync(`${folder}/other.safetensors`, weights('b'));
    writeFileSync(`${folder}/config.json`, '{"x": 1}');
    writeFileSync(`${folder}/pytorch_model.bin`, 'PK\x03\x04\0\0');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('by path; a config belongs to it only under a name that checkpoints have', async () => {
    const model = await openCheckpoint(`${folder}/model.safetensors`);
    expect([names(model), model.config]).toEqual([['a'], { x: 1 }]);
    const other = await openCheckpoint(`${folder}/other.safetensors`);
    expect([names(other), other.config, await other.text('config.json')]).toEqual([['b'], undefined, '{"x": 1}']);
    const chosen = await openCheckpoint(folder, { file: 'other.safetensors' });
    expect([names(chosen), chosen.config]).toEqual([['b'], { x: 1 }]);
    await Promise.all([model, other, chosen].map((checkpoint) => checkpoint.close()));
  });

  test('what is not there, or not weights', async () => {
    expect((await valueOrMessage(() => openCheckpoint(`${folder}/none`))).message).toContain(
      'none] no such file or folder',
    );
    expect((await valueOrMessage(() => openCheckpoint(folder, { file: 'x' }))).message).toContain(
      'no file x: want the weights there',
    );
    expect((await valueOrMessage(() => openCheckpoint(`${folder}/pytorch_model.bin`))).message).toContain(
      'this is a PyTorch file',
    );
    expect((await valueOrMessage(() => openCheckpoint(`${folder}/config.json`))).message).toContain(
      'this is a JSON text',
    );
  });

  test('from a page: one blob, one file, a list', async () => {
    const blob = new Blob([weights('a') as Uint8Array<ArrayBuffer>]);
    expect(names(await openCheckpoint(blob))).toEqual(['a']);
    const file = new File([blob], 'model.safetensors');
    expect(names(await openCheckpoint(file))).toEqual(['a']);
    const config = new File(['{"x": 2}'], 'config.json');
    const both = await openCheckpoint([config, file]);
    expect([names(both), both.config]).toEqual([['a'], { x: 2 }]);
  });
});

test('any index, config or shard: a checkpoint or a UserError', async () => {
  const golden = readBytes(goldenPath('clip-text-gelu/model.safetensors')).slice(0, 3000);
  const text = fc.oneof(
    fc.json(),
    fc.string(),
    fc.dictionary(fc.string(), fc.constantFrom('model-00001-of-00002.safetensors', 'x', '..')).map(index),
  );
  const content = fc.oneof(text, fc.uint8Array({ maxLength: 60 }), fc.constant(golden), fc.constant(weights('a')));
  const files = fc.dictionary(
    fc.constantFrom(...Object.keys(SHARDS), 'model.safetensors', 'x', 'model_index.json'),
    content,
  );
  await fc.assert(
    fc.asyncProperty(files, fc.boolean(), async (some, all) => {
      await valueOrMessage(() => open(all ? { ...SHARDS, ...some } : some));
    }),
    { numRuns: 500 },
  );
});
