// From bytes of a file to tensors on the device: every stored type, layouts, what does not fit, and nothing left behind.
import { expect, test, vi } from 'vitest';
import { Device } from '../../src/gpu/device.ts';
import { defaultDevice, type Tensor, trim } from '../../src/index.ts';
import { type FromPretrained, pretrained } from '../../src/io/pretrained.ts';
import { type StoredDtype, type StoredTensor, writeSafetensors } from '../../src/io/safetensors.ts';
import { memoryFolder } from '../../src/io/source.ts';

const folder = (tensors: Record<string, StoredTensor>, config: object = { model_type: 'tiny' }) =>
  memoryFolder([
    ['config.json', JSON.stringify(config)],
    ['model.safetensors', writeSafetensors(Object.entries(tensors))],
  ]);

/** A model that is nothing but the tensors it names. */
const named = (shapes: Record<string, number[]>) =>
  pretrained('Named', (w) =>
    Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, w.get(name, shape)])),
  );

async function load(
  tensors: Record<string, StoredTensor>,
  shapes: Record<string, number[]>,
  { config, ...options }: FromPretrained & { config?: object } = {},
) {
  const model = (await named(shapes).from_pretrained(folder(tensors, config), options)) as unknown as Record<
    string,
    Tensor
  > & {
    unused: string[];
    dispose(): void;
  };
  const values: Record<string, Float32Array> = {};
  for (const name in shapes) values[name] = (await model[name]!.data()) as Float32Array;
  model.dispose();
  return { values, unused: model.unused };
}

/** Buffers in use, but for those of plans. */
async function live(): Promise<number> {
  const device = await defaultDevice();
  await trim(device);
  return device.pool.stats.live;
}
const float = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0]!;
const codes = (n: number) => Array.from({ length: n }, (_, i) => i);

/** What the bits of a small float mean: sign, `e` bits of exponent, `m` of fraction. */
function small(code: number, e: number, m: number): number {
  const sign = code >> (e + m) ? -1 : 1;
  const exponent = (code >> m) & (2 ** e - 1);
  const fraction = code & (2 ** m - 1);
  const bias = 2 ** (e - 1) - 1;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias - m) : (1 + fraction / 2 ** m) * 2 ** (exponent - bias));
}

const formats: [StoredDtype, ArrayBufferView, (i: number) => number, number][] = [
  ['F32', Float32Array.from(codes(15), (i) => i / 3 - 2), (i) => Math.fround(i / 3 - 2), 15],
  ['BF16', Uint16Array.from(codes(65280)), (i) => float(i << 16), 65280],
  ['F16', Uint16Array.from(codes(31744)), (i) => small(i, 5, 10), 31744],
  ['F16', Uint16Array.from(codes(31743), (i) => i + 0x8000), (i) => small(i + 0x8000, 5, 10), 31743],
];
test.each(formats)('%s', async (dtype, data, value, n) => {
  const { values } = await load({ a: { dtype, shape: [n], data } }, { a: [n] });
  for (let i = 0; i < n; i++) {
    const want = value(i);
    if (Number.isNaN(want) || Math.abs(want) < 2 ** -126) continue; // subnormals may be flushed
    if (values.a![i] !== want) expect(`${i}: ${values.a![i]}`).toBe(`${i}: ${want}`);
  }
});

/** An fp8 weight of ones with scales 1, 2, 3, ... */
const fp8 = (shape: number[], scaleShape: number[]): Record<string, StoredTensor> => {
  const [n, scales] = [shape, scaleShape].map((s) => s.reduce((a, b) => a * b, 1)) as [number, number];
  return {
    'a.weight': { dtype: 'F8_E4M3', shape, data: new Uint8Array(n).fill(0x38) },
    'a.weight_scale_inv': { dtype: 'F32', shape: scaleShape, data: Float32Array.from(codes(scales), (i) => i + 1) },
  };
};
const inBlocks = (weight_block_size: unknown) => ({ quantization_config: { quant_method: 'fp8', weight_block_size } });

test('fp8: every code', async () => {
  const finite = codes(256).filter((c) => (c & 127) !== 127);
  const weight = { dtype: 'F8_E4M3', shape: [2, 127], data: Uint8Array.from(finite) } as const;
  const scale = { dtype: 'F32', shape: [2], data: Float32Array.of(0.5, 2) } as const;
  const { values, unused } = await load({ 'a.weight': weight, 'a.weight_scale': scale }, { 'a.weight': [2, 127] });
  expect([...values['a.weight']!]).toEqual(finite.map((c, i) => small(c, 4, 3) * (i < 127 ? 0.5 : 2)));
  expect(unused).toEqual([]);
});

const scales: [string, number[], number[], unknown, (row: number, col: number) => number][] = [
  ['one for all', [3, 4], [], null, () => 1],
  ['one for all, whatever the blocks', [3, 4], [1], [2, 2], () => 1],
  ['one per row', [3, 4], [3], null, (row) => row + 1],
  ['one per row, as a column', [3, 4], [3, 1], undefined, (row) => row + 1],
  ['one per column', [3, 4], [1, 4], undefined, (_, col) => col + 1],
  ['equal blocks', [4, 6], [2, 3], undefined, (row, col) => Math.floor(row / 2) * 3 + Math.floor(col / 2) + 1],
  [
    'blocks of 128, the last of each dimension cut short',
    [136, 200],
    [2, 2],
    [128, 128],
    (row, col) => (row < 128 ? 0 : 2) + (col < 128 ? 1 : 2),
  ],
  ['blocks larger than the weight', [3, 4], [1, 1], [128, 128], () => 1],
];
test.each(scales)('fp8 scales: %s', async (_, shape, scaleShape, block, at) => {
  const { values } = await load(fp8(shape, scaleShape), { 'a.weight': shape }, { config: inBlocks(block) });
  const want = Float32Array.from(values['a.weight']!, (_, i) => at(Math.floor(i / shape[1]!), i % shape[1]!));
  expect(values['a.weight']).toEqual(want);
});

const equal =
  'want one scale, one per row, or one per block of equal size. For other blocks want ' +
  'quantization_config.weight_block_size, [rows, cols], in config.json.';
const refused: [number[], number[], unknown, string][] = [
  [[200, 4], [3, 1], null, `a.weight_scale_inv for [200, 4]: got shape [3, 1], ${equal}`],
  [[2, 4], [2, 2, 2], null, `got shape [2, 2, 2], ${equal}`],
  [[2, 4], [0], null, `got shape [0], ${equal}`],
  [[4], [2, 2], [2, 2], `got shape [2, 2], ${equal}`],
  [
    [200, 4],
    [3, 1],
    [128, 128],
    'got shape [3, 1], want [2, 1] by the weight_block_size [128, 128] of config.json, or one',
  ],
  [[2, 4], [2], [2, 2], 'got shape [2], want [1, 2] by'],
  [[2, 4], [1, 2], [2], 'config.json, weight_block_size: got [2], want two positive integers, [rows, cols]'],
  [[2, 4], [1, 2], [0, 2], 'weight_block_size: got [0,2], want two'],
];
test.each(refused)('fp8 %j with scales %j in blocks %j', async (shape, scaleShape, block, message) => {
  const before = await live();
  const loading = load(fp8(shape, scaleShape), { 'a.weight': shape }, { config: inBlocks(block) });
  await expect(loading).rejects.toMatchObject({ name: 'UserError', message: expect.stringContaining(message) });
  expect(await live()).toBe(before);
});

test('fp8 without a scale', async () => {
  const before = await live();
  const alone = load({ a: { dtype: 'F8_E5M2', shape: [4], data: Uint8Array.of(1, 2, 3, 4) } }, { a: [4] });
  await expect(alone).rejects.toThrow('a is fp8: want a_scale or a_scale_inv beside it');
  expect(await live()).toBe(before);
});

test('an error after the bytes came: they and their scales are given back', async () => {
  const before = await live();
  const { pool } = await defaultDevice();
  let acquire: { mockRestore(): void } | undefined;
  const progress_callback: FromPretrained['progress_callback'] = ({ status }) => {
    if (status !== 'progress') return;
    acquire = vi.spyOn(pool, 'acquire').mockImplementation(() => {
      throw new RangeError('no memory');
    });
  };
  try {
    const loading = load(fp8([5, 7], [5]), { 'a.weight': [5, 7] }, { progress_callback });
    await expect(loading).rejects.toThrow('no memory');
  } finally {
    acquire?.mockRestore();
  }
  expect(await live()).toBe(before);
});

/** Names by which openai/CLIP is known, with a text_projection: [width, embed] there, [embed, width] in transformers. */
function openai(text_projection: StoredTensor): Record<string, StoredTensor> {
  const f32 = (...shape: number[]) =>
    ({ dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) }) as const;
  return {
    'visual.conv1.weight': f32(64, 3, 2, 2),
    'visual.positional_embedding': f32(5, 64),
    'token_embedding.weight': f32(3, 2),
    positional_embedding: f32(4, 2),
    input_resolution: f32(),
    text_projection,
  };
}
const transposed: [string, number[], StoredDtype, 'f32' | 'f16'][] = [
  ['a matrix', [3, 2], 'F32', 'f32'],
  ['a column', [3, 1], 'F32', 'f32'],
  ['a row', [1, 3], 'F32', 'f32'],
  ['a row as f16', [1, 3], 'F32', 'f16'],
  ['a scaled column', [3, 1], 'F8_E4M3', 'f32'],
  ['a scaled row as f16', [1, 3], 'F8_E4M3', 'f16'],
];
test.each(transposed)('transposed: %s', async (_, shape, stored, dtype) => {
  const before = await live();
  const [rows, cols] = shape as [number, number];
  const bits = Uint8Array.from(codes(rows * cols), (i) => 0x38 + i); // 1, 1.125, 1.25, ...
  const value = Float32Array.from(bits, (c) => small(c, 4, 3));
  const weight = { dtype: stored, shape, data: stored === 'F32' ? value : bits } as StoredTensor;
  const scale = { dtype: 'F32', shape: [], data: Float32Array.of(2) } as const;
  const tensors = { ...openai(weight), ...(stored !== 'F32' && { text_projection_scale: scale }) };
  const { values } = await load(tensors, { 'text_projection.weight': [cols, rows] }, { dtype });
  const factor = stored === 'F32' ? 1 : 2;
  const want = codes(rows * cols).map((i) => factor * value[(i % rows) * cols + Math.floor(i / rows)]!);
  expect([...values['text_projection.weight']!]).toEqual(want);
  expect(await live()).toBe(before);
});

test('kept as f16, and in more than one piece', async () => {
  const n = (8 << 20) / 4 + 7;
  const data = Float32Array.from({ length: n }, (_, i) => (i % 2039) / 2048);
  const full = await load({ a: { dtype: 'F32', shape: [n], data } }, { a: [n] });
  expect(full.values.a!.every((v, i) => v === data[i])).toBe(true);
  const half = await load({ a: { dtype: 'F32', shape: [n], data } }, { a: [n] }, { dtype: 'f16' });
  expect(half.values.a!.every((v, i) => v === data[i])).toBe(true); // 11 bits suffice for each
});

test('many small tensors: no more than one piece waits to be copied', async () => {
  const device = await defaultDevice();
  const MiB = 1 << 20;
  const names = codes(20).map((i) => `t${i}`);
  const tensors = names.map((name, i) => {
    const data = i % 2 ? new Float32Array(MiB / 4).fill(i) : new Uint16Array(MiB / 2).fill(0x3f80);
    return [name, { dtype: i % 2 ? 'F32' : 'BF16', shape: [data.length], data }] as [string, StoredTensor];
  });
  let flying = 0;
  let most = 0;
  const { write, idle } = device;
  const writes = vi.spyOn(device, 'write').mockImplementation((buffer, at, bytes) => {
    if (bytes.byteLength >= MiB) flying += bytes.byteLength; // a piece, no parameters of kernels
    most = Math.max(most, flying);
    write.call(device, buffer, at, bytes);
  });
  const waits = vi.spyOn(device, 'idle').mockImplementation(async () => {
    await idle.call(device);
    flying = 0;
  });
  try {
    const shapes = Object.fromEntries(tensors.map(([name, { shape }]) => [name, [...shape]]));
    const model = await named(shapes).from_pretrained(folder(Object.fromEntries(tensors)));
    model.dispose();
  } finally {
    writes.mockRestore();
    waits.mockRestore();
  }
  expect(most).toBe(8 * MiB);
});

test('scalars, empty tensors, and names that JavaScript knows', async () => {
  const one = { dtype: 'F32', shape: [], data: Float32Array.of(7) } as const;
  const none = { dtype: 'F32', shape: [0, 3], data: new Float32Array(0) } as const;
  const { values } = await load({ constructor: one, none }, { constructor: [], none: [0, 3] });
  expect([...(values.constructor as unknown as Float32Array), ...values.none!]).toEqual([7]);
});

test('what does not fit is told at once, and nothing stays on the device', async () => {
  const before = await live();
  const f32 = (shape: number[]) =>
    ({ dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) }) as const;
  const loading = load({ a: f32([2]), b: f32([3, 2]), c: f32([1]) }, { a: [2], b: [2, 3], d: [4], e: [5] });
  await expect(loading).rejects.toThrow(
    '[memory] the checkpoint does not fit its config: 2 missing: d; e | 1 of another shape: b: got [3, 2], want [2, 3] | ' +
      "1 not used: c. Is it another model's (model_type tiny, loaded as Named), or incomplete?",
  );
  const ints = load({ a: f32([2]), i: { dtype: 'I32', shape: [1], data: Int32Array.of(1) } }, { a: [2], i: [1] });
  await expect(ints).rejects.toThrow('i is I32: want one of F32, F16, BF16, F8_E4M3, F8_E5M2');
  expect(await live()).toBe(before);
});

test('abort and progress', async () => {
  const before = await live();
  const f32 = { dtype: 'F32', shape: [4], data: new Float32Array(4) } as const;
  const from = folder({ a: f32, b: f32, c: f32 });
  const model = named({ a: [4], b: [4], c: [4] });
  const events: string[] = [];
  const loaded = await model.from_pretrained(from, {
    progress_callback: (e) => events.push(e.status === 'progress' ? `${Math.round(e.progress)} %` : e.status),
  });
  expect(events).toEqual(['initiate', '33 %', '67 %', '100 %', 'ready']);
  loaded.dispose();
  const controller = new AbortController();
  const stopped = model.from_pretrained(from, {
    signal: controller.signal,
    progress_callback: () => controller.abort(),
  });
  await expect(stopped).rejects.toThrow('aborted');
  expect(await live()).toBe(before);
});

test('options that are wrong are told before anything is read', async () => {
  const a = named({ a: [1] });
  const none = memoryFolder([]);
  for (const [dtype, got] of [
    ['fp16', "'fp16'"],
    [null, 'null'],
  ] as [never, string][]) {
    const loading = a.from_pretrained(none, { dtype });
    const message = expect.stringContaining(`[from_pretrained] dtype: got ${got}, want 'f32', 'f16', 'q8' or 'q4'`);
    await expect(loading).rejects.toMatchObject({ name: 'UserError', message });
  }
  for (const [device, got] of [
    ['webgpu', "'webgpu'"],
    [Promise.resolve(), '[object Promise]'],
    [null, '[object Null]'],
  ] as [never, string][]) {
    const loading = a.from_pretrained(none, { device });
    const message = `[device] got ${got}, want a Device or a GPUDevice; without one the default is taken`;
    await expect(loading).rejects.toMatchObject({ name: 'TypeError', message });
  }
});

test('one Device for one GPUDevice', async () => {
  const { gpu } = await defaultDevice();
  const device = Device.from(gpu);
  expect(Device.from(gpu)).toBe(device);
  expect(Device.from(device)).toBe(device);
  const one = { dtype: 'F32', shape: [1], data: Float32Array.of(1) } as const;
  const model = await named({ a: [1] }).from_pretrained(folder({ a: one }), { device: gpu });
  expect(model.device).toBe(device);
  model.dispose();
});
