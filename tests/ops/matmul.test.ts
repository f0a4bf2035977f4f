import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { expectClose, type Input, randomNd, testOp, upload } from './harness.ts';

/** Segments of 128 terms and their sum: (128 + k / 128) 2^-24 of sum |a b|, which is below sqrt(k) max |y| here. */
const SUMMED = { all: 2 ** -18, from: 'canonical sum of docs/summation.md, its bound for k <= 300' };

testOp('matmul', {
  op: (a, b) => a.matmul(b),
  reference: ref.matmul,
  inputs: [
    [
      [1, 1],
      [1, 1],
    ],
    [
      [3, 5],
      [5, 7],
    ],
    [
      [16, 32],
      [32, 40],
    ],
    [
      [17, 131],
      [131, 37],
    ],
    [
      [2, 0],
      [0, 3],
    ],
    [
      [0, 4],
      [4, 2],
    ],
    [
      [2, 3, 4],
      [2, 4, 5],
    ],
    [
      [2, 1, 3, 4],
      [3, 4, 2],
    ],
  ],
  tolerance: SUMMED,
  grad: [
    [2, 3, 4],
    [4, 5],
  ],
});
testOp('matmul of vectors', {
  op: (a, b) => a.matmul(b),
  reference: ref.matmul,
  inputs: [
    [[4], [4, 3]],
    [[2, 3, 4], [4]],
    [[5], [5]],
    [[5], [2, 5, 3]],
  ],
  tolerance: SUMMED,
  layouts: ['plain', 'sliced'],
});
testOp('matmul with broadcast batches', {
  op: (a, b) => a.matmul(b),
  reference: ref.matmul,
  inputs: [
    [
      [2, 3, 4, 5],
      [3, 5, 2],
    ],
    [
      [2, 1, 3, 2],
      [1, 4, 2, 3],
    ],
  ],
  tolerance: SUMMED,
  layouts: ['plain', 'permuted'],
  grad: [
    [2, 1, 2, 3],
    [2, 3, 2],
  ],
});
const sizes = fc.constantFrom(1, 2, 3, 4, 8, 12, 13, 33);
testOp('matmul of any sizes', {
  op: (a, b) => a.matmul(b.transpose(0, 1)),
  reference: (a, b) => ref.linear(a, b),
  inputs: fc.tuple(sizes, sizes, sizes).map(([m, k, n]): Input[] => [
    [m, k],
    [n, k],
  ]),
  tolerance: SUMMED,
  layouts: ['plain'],
});

describe('a sum of nothing', () => {
  it('is 0, in every batch', async () => {
    const y = tensor(new Float32Array(0), [2, 0]).matmul(tensor(new Float32Array(0), [5, 0, 3]));
    expect(y.shape).toEqual([5, 2, 3]);
    expect(await y.data()).toEqual(new Float32Array(30));
    expect(tensor(new Float32Array(0), [5, 2, 0]).matmul(tensor(new Float32Array(0), [0, 3])).shape).toEqual([5, 2, 3]);
  });
});

describe('matmul', () => {
  it('of f16 weights and f32 activations sums in f32', async () => {
    const [x, w] = [randomNd([3, 40], 1), randomNd([8, 40], 2, 'f16')];
    const y = upload(x).matmul(upload(w, 'f16').transpose(0, 1));
    expect(y.dtype).toBe('f32');
    await expectClose(y, ref.linear(x, w), SUMMED);
  });
  it('of integers is exact', async () => {
    const y = tensor([[3000, 1]], { dtype: 'i32' }).matmul(tensor([[3000], [1]], { dtype: 'i32' }));
    expect(await y.data()).toEqual(Float32Array.of(9000001));
  });
  it('gives the same bits for every tile, batch and layout', async () => {
    const [a, b] = [upload(randomNd([33, 300], 1)), upload(randomNd([300, 33], 2))];
    const whole = await a.matmul(b).data();
    const columns = b.transpose(0, 1).contiguous().transpose(0, 1);
    expect(await a.matmul(columns).data()).toEqual(whole);
    for (const rows of [1, 2, 5, 8]) {
      expect(await a.slice(0, 0, rows).matmul(b).data()).toEqual(whole.slice(0, 33 * rows));
    }
    const batch = await a
      .expand([2, 33, 300])
      .matmul(b.expand([2, 300, 33]))
      .data();
    expect(batch.slice(33 * 33)).toEqual(whole);
  });
  it('ends in the elementwise ops behind it', async () => {
    const [x, w, b] = [randomNd([5, 16], 1), randomNd([12, 16], 2), randomNd([12], 3)];
    for (const dtype of ['f32', 'f16'] as const) {
      const y = upload(x).matmul(upload(w).transpose(0, 1)).add(upload(b)).gelu().to(dtype);
      await expectClose(y, ref.map((v) => ref.gelu(v!))(ref.linear(x, w, b)), SUMMED);
    }
  });
});
