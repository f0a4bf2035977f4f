// Normal numbers against their definition, and order statistics.
import { describe, expect, test } from 'vitest';
import { compile, quantile, randn, type Tensor, tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { expectClose, random } from './harness.ts';

describe('randn', () => {
  test.each([
    [[], 0, 0],
    [[3], 7, 1],
    [[2, 5, 3], 2 ** 40 + 3, 4294967295],
    [[1, 4, 65], 123, 2],
  ])('%j of seed %i at %i', async (shape, seed, position) => {
    const y = randn(shape, { seed, position });
    expect([y.shape, y.dtype]).toEqual([shape, 'f32']);
    await expectClose(y, ref.randn(shape, seed, position), {
      all: 2 ** -19,
      from: 'a logarithm, a root and a cosine in f32',
    });
  });

  test('an element is the same whatever the shape', async () => {
    const all = [...(await randn([1000], { seed: 5 }).data())];
    expect([...(await randn([7, 11], { seed: 5 }).data())]).toEqual(all.slice(0, 77));
  });

  test('mean, deviation and fourth moment of many', async () => {
    const x = [...(await randn([1 << 18], { seed: 11 }).data())];
    const mean = (power: number) => x.reduce((sum, v) => sum + v ** power, 0) / x.length;
    expect(Math.abs(mean(1))).toBeLessThan(0.006); // three deviations of each
    expect(Math.abs(mean(2) - 1)).toBeLessThan(0.009);
    expect(Math.abs(mean(4) - 3)).toBeLessThan(0.06);
  });

  test('the position may be an argument of a compiled function', async () => {
    const noisy = compile((x: Tensor, position: Tensor) => x.add(randn([5], { seed: 3, position })));
    for (const position of [0, 9]) {
      const y = await noisy(tensor([0, 0, 0, 0, 0]), position);
      expect(await y.tolist()).toEqual(await randn([5], { seed: 3, position }).tolist());
    }
  });

  test.each<[() => unknown, string]>([
    [() => randn([2], {} as never), '[randn] seed: got nothing, want a whole number from 0'],
    [() => randn([2.5], { seed: 1 }), '[randn] shape: got [2.5], want whole numbers from 0 on'],
    [() => randn([2], { seed: 1, position: -1 }), '[randn] position: got -1, want a whole number from 0 to 2^32 - 1'],
  ])('%s', (act, message) => {
    expect(act).toThrow(message);
  });
});

describe('quantile', () => {
  const next = random(5);
  const rows = (n: number, count: number) =>
    Array.from({ length: n }, () => Array.from({ length: count }, () => Math.fround(6 * next() - 3)));
  test.each([1, 2, 5, 257, 1000])('of rows of %i', async (count) => {
    const x = rows(3, count);
    for (const q of [0, 0.1, 0.5, 0.995, 1]) {
      const want = x.map((row) => {
        const sorted = [...row].sort((a, b) => a - b);
        const low = Math.floor(q * (count - 1));
        return sorted[low]! + (sorted[Math.min(low + 1, count - 1)]! - sorted[low]!) * (q * (count - 1) - low);
      });
      const y = quantile(tensor(x), q);
      expect(y.shape).toEqual([3]);
      const got = [...(await y.data())];
      expect(got.filter((v, i) => !(Math.abs(v - want[i]!) < 1e-6))).toEqual([]);
    }
    expect(quantile(tensor(x), 0.5, 1, true).shape).toEqual([3, 1]);
  });
  test.each<[() => unknown, string]>([
    [() => quantile(tensor([1]), 2), '[quantile] q: got 2, want a number from 0 to 1'],
    [() => quantile(tensor([[1]]), 0.5, 0), '[quantile] dim: got 0 of [1, 1], want the last one, not empty'],
    [() => quantile(tensor([]), 0.5), 'want the last one, not empty'],
  ])('%s', (act, message) => {
    expect(act).toThrow(message);
  });
});
