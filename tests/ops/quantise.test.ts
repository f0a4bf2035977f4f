import { describe, expect, it } from 'vitest';
import { type DeviceStorage, run } from '../../src/exec/run.ts';
import { defaultDevice, grad, type Tensor, tensor } from '../../src/index.ts';
import { quantised } from '../quantised.ts';
import { random } from './harness.ts';

async function wordsOf(t: Tensor): Promise<Uint32Array> {
  await run([t]);
  const { device, buffer } = t.storage as DeviceStorage;
  return new Uint32Array(await device.read(buffer, t.nbytes));
}

const next = random(7);
const normal = () => Math.sqrt(-2 * Math.log(next() + 1e-9)) * Math.cos(2 * Math.PI * next());
const numbers = (n: number, fn: (i: number) => number) => Float32Array.from({ length: n }, (_, i) => fn(i));
const BLOCK = 32;
const CASES: Record<string, Float32Array> = {
  weights: numbers(4096, () => 0.02 * normal()),
  'sizes of all kinds': numbers(8192, (i) => normal() * 2 ** (((i / BLOCK) % 48) - 30)),
  'ties between two integers': numbers(4096, (i) => (i % BLOCK === 0 ? 127 : (i % 255) - 127.5) / 1024),
  'ties between two nibbles': numbers(
    4096,
    (i) => (i % BLOCK === 0 ? 0 : i % BLOCK === 1 ? 15 : (i % 15) + 0.5) / 1024,
  ),
  'next to ties': numbers(4096, (i) => (i % BLOCK === 0 ? 127 : ((i % 255) - 127.5) * (1 + 2 ** -22)) / 1024),
  'zeros, and what is lost beside one': numbers(512, (i) =>
    i % 64 < BLOCK ? 0 : i % BLOCK === 0 ? 1 : 1e-3 * normal(),
  ),
  'far from zero': numbers(1024, () => 3 + 1e-3 * normal()),
  'all below or above zero': numbers(1024, (i) => (i % 64 < BLOCK ? -1 : 1) * (0.01 + next())),
  'beyond halves': numbers(256, () => 1e8 * normal()),
  'a size that fills no block': numbers(1037, () => normal()),
  'less than a block': numbers(5, () => normal()),
};

describe.each(['q8', 'q4'] as const)('%s', (dtype) => {
  it.each(Object.keys(CASES))('has the integers and halves of the rule: %s', async (name) => {
    const x = CASES[name]!;
    const want = quantised(x, dtype);
    const y = tensor(x).to(dtype);
    expect(await wordsOf(y)).toEqual(want.words);
    expect(await y.data()).toEqual(Float32Array.from(want.values)); // one rounding, for q4; none for q8
  });
  it('says NaN of a block that holds NaN or infinity, and of no other', async () => {
    const x = numbers(128, normal);
    x[40] = Number.NaN;
    x[70] = Number.NEGATIVE_INFINITY;
    const got = await tensor(x).to(dtype).data();
    expect(Array.from(got, Number.isNaN)).toEqual(Array.from(x, (_, i) => i >= 32 && i < 96));
  });
  it('is read through any view', async () => {
    const [rows, cols] = [6, 43];
    const x = numbers(rows * cols, normal);
    const { values } = quantised(x, dtype);
    const y = await tensor(x, [rows, cols]).to(dtype).realize();
    const want = (list: (row: number, col: number) => boolean, turned = false) => {
      const kept = [...values.keys()].filter((i) => list(Math.floor(i / cols), i % cols));
      if (turned) kept.sort((a, b) => (a % cols) - (b % cols) || a - b);
      return kept.map((i) => Math.fround(values[i]!));
    };
    expect([...(await y.transpose(0, 1).data())]).toEqual(want(() => true, true));
    expect([...(await y.narrow(0, 2, 3).data())]).toEqual(want((r) => r >= 2 && r < 5));
    expect([...(await y.slice(1, 3, 41).mul(2).data())]).toEqual(want((_, c) => c >= 3 && c < 41).map((v) => 2 * v));
    expect(y.transpose(0, 1).contiguous().dtype).toBe('f32');
    expect(y.sum().dtype).toBe('f32');
    const ids = tensor([5, 0, 5], { dtype: 'i32' });
    const rowsOf = (await ids.embedding(y).data()) as Float32Array;
    expect([...rowsOf.subarray(cols, 2 * cols)]).toEqual(want((r) => r === 0));
    expect((await y.index_select(0, ids).data())[0]).toBe(want((r) => r === 5)[0]);
  });
  it('from f16, and back to it', async () => {
    const x = numbers(96, normal);
    const half = tensor(x).to('f16');
    expect(await half.to(dtype).data()).toEqual(
      Float32Array.from(quantised((await half.data()) as Float32Array, dtype).values),
    );
    expect(await tensor(x).to(dtype).to('f16').data()).toEqual(
      await tensor(Float32Array.from(quantised(x, dtype).values))
        .to('f16')
        .data(),
    );
  });
});

it('errors by less than stated', async () => {
  // of normal numbers, root mean square over that of the numbers: 0.54 % and 7.8 %
  const x = CASES.weights!;
  const rms = (list: ArrayLike<number>) => Math.sqrt(Array.from(list).reduce((n, v) => n + v * v, 0) / list.length);
  const error = async (dtype: 'q8' | 'q4') => {
    const got = await tensor(x).to(dtype).data();
    return rms(x.map((v, i) => v - got[i]!)) / rms(x);
  };
  expect(await error('q8')).toBeLessThan(0.006);
  expect(await error('q4')).toBeLessThan(0.085);
});

it('is frozen', () => {
  const w = tensor(CASES.weights!, [64, 64]).to('q8');
  expect(() => grad(w.sum(), [w])).toThrow('is quantised and frozen: load it as f32, or train an adapter');
});

describe.each(['q8', 'q4'] as const)('products with %s', (dtype) => {
  /** x and w by their shapes; w is stored as [n, k], or as [k, n]. */
  const SHAPES = [
    ...[
      [1, 32, 4],
      [1, 160, 37],
      [3, 64, 20],
      [5, 256, 64],
      [17, 288, 33],
      [40, 96, 70],
      [1, 384, 130],
    ], // whole blocks
    ...[
      [1, 52, 8],
      [4, 52, 32],
      [9, 33, 12],
      [2, 7, 5],
      [1, 131, 3],
    ], // blocks that cross rows
  ] as [number, number, number][];
  const fill = (n: number) => numbers(n, normal);

  it.each(SHAPES)('[%i, %i] x [.., %i] have the bits of the product with the values', async (m, k, n) => {
    const x = tensor(fill(m * k), [m, k]);
    const w = await tensor(fill(n * k), [n, k])
      .to(dtype)
      .realize();
    const v = await w.to('f32').realize();
    expect(await x.matmul(w.transpose(0, 1)).data()).toEqual(await x.matmul(v.transpose(0, 1)).data());
    const dy = tensor(fill(m * n), [m, n]); // dx = dy w
    expect(await dy.matmul(w).data()).toEqual(await dy.matmul(v).data());
  });
  it.each([
    [1, 384, 20],
    [40, 160, 36],
  ])('[%i, %i] x [.., %i] have them in the forms for GPUs', async (m, k, n) => {
    const device = await defaultDevice();
    const { software } = device.capabilities;
    try {
      Object.assign(device.capabilities, { software: false });
      const x = tensor(fill(m * k), [m, k]);
      const w = await tensor(fill(n * k), [n, k])
        .to(dtype)
        .realize();
      const v = await w.to('f32').realize();
      expect(await x.matmul(w.transpose(0, 1)).data()).toEqual(await x.matmul(v.transpose(0, 1)).data());
      expect(await x.matmul(w.reshape([k, n])).data()).toEqual(await x.matmul(v.reshape([k, n])).data());
    } finally {
      Object.assign(device.capabilities, { software });
    }
  });
  it('agree row by row with all rows at once, with an epilogue and in f16', async () => {
    const [m, k, n] = [11, 128, 24];
    const x = tensor(fill(m * k), [m, k]);
    const w = tensor(fill(n * k), [n, k])
      .to(dtype)
      .transpose(0, 1);
    const all = (await x.matmul(w).data()) as Float32Array;
    for (const row of [0, 7]) {
      expect(await x.narrow(0, row, 1).matmul(w).data()).toEqual(all.slice(row * n, row * n + n));
    }
    const b = tensor(fill(n));
    expect(await x.matmul(w).add(b).silu().data()).toEqual(await tensor(all, [m, n]).add(b).silu().data());
    expect((await x.to('f16').matmul(w, 'f16').data()).length).toBe(m * n);
  });
  it('have a gradient in x by the transposed weights', async () => {
    const [m, k, n] = [3, 64, 10];
    const x = tensor(fill(m * k), [m, k]);
    const raw = fill(n * k);
    const w = tensor(raw, [n, k]).to(dtype);
    const r = fill(m * n);
    const [dx] = grad(
      x
        .matmul(w.transpose(0, 1))
        .mul(tensor(r, [m, n]))
        .sum(),
      [x],
    );
    const { values } = quantised(raw, dtype);
    const want = numbers(m * k, (i) => {
      const [row, col] = [Math.floor(i / k), i % k];
      return Array.from({ length: n }, (_, j) => r[row * n + j]! * values[j * k + col]!).reduce((a, b) => a + b);
    });
    const got = await dx!.data();
    for (const [i, v] of want.entries()) expect(Math.abs(got[i]! - v)).toBeLessThan(1e-5);
  });
});
