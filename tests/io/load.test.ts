// From bytes of a file to tensors on the device: every stored type, layouts, what does not fit, and nothing left behind.
import { expect, test } from 'vitest';
import { defaultDevice, type Tensor, trim } from '../../src/index.ts';
import { pretrained } from '../../src/io/pretrained.ts';
import { type StoredDtype, type StoredTensor, writeSafetensors } from '../../src/io/safetensors.ts';
import { memoryFolder } from '../../src/io/source.ts';

const folder = (tensors: Record<string, StoredTensor>) =>
  memoryFolder([
    ['config.json', '{"model_type": "tiny"}'],
    ['model.safetensors', writeSafetensors(Object.entries(tensors))],
  ]);

/** A model that is nothing but the tensors it names. */
const named = (shapes: Record<string, number[]>) =>
  pretrained('Named', (w) =>
    Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, w.get(name, shape)])),
  );

async function load(tensors: Record<string, StoredTensor>, shapes: Record<string, number[]>, dtype?: 'f32' | 'f16') {
  const model = (await named(shapes).from_pretrained(folder(tensors), { dtype })) as unknown as Record<
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

test('fp8 with its scale', async () => {
  const finite = codes(256).filter((c) => (c & 127) !== 127);
  const e4m3 = Uint8Array.from(finite);
  const shape = [2, 127];
  const scales: [number[], number[], (row: number, col: number) => number][] = [
    [[], [0.5], () => 0.5],
    [[2], [0.5, 2], (row) => [0.5, 2][row]!],
    [[2, 1], [0.5, 2], (row) => [0.5, 2][row]!],
    [[1, 2], [3, 4], (_, col) => (col < 64 ? 3 : 4)],
  ];
  for (const [scaleShape, scale, at] of scales) {
    const { values, unused } = await load(
      {
        'a.weight': { dtype: 'F8_E4M3', shape, data: e4m3 },
        'a.weight_scale_inv': { dtype: 'F32', shape: scaleShape, data: Float32Array.from(scale) },
      },
      { 'a.weight': shape },
    );
    const want = finite.map((c, i) => small(c, 4, 3) * at(Math.floor(i / 127), i % 127));
    expect([...values['a.weight']!]).toEqual(want);
    expect(unused).toEqual([]);
  }
  const before = await live();
  const alone = load({ a: { dtype: 'F8_E5M2', shape: [4], data: Uint8Array.of(1, 2, 3, 4) } }, { a: [4] });
  await expect(alone).rejects.toThrow('a is fp8: want a_scale or a_scale_inv beside it');
  expect(await live()).toBe(before);
});

test('kept as f16, and in more than one piece', async () => {
  const n = (8 << 20) / 4 + 7;
  const data = Float32Array.from({ length: n }, (_, i) => (i % 2039) / 2048);
  const full = await load({ a: { dtype: 'F32', shape: [n], data } }, { a: [n] });
  expect(full.values.a!.every((v, i) => v === data[i])).toBe(true);
  const half = await load({ a: { dtype: 'F32', shape: [n], data } }, { a: [n] }, 'f16');
  expect(half.values.a!.every((v, i) => v === data[i])).toBe(true); // 11 bits suffice for each
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
      "1 not used: c. Is it another model's, or incomplete?",
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
