import { describe, expect, it } from 'vitest';
import { estimate } from '../../src/exec/estimate.ts';
import { grad, type Tensor, tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { expectClose, randomNd, testOp, upload } from './harness.ts';

const NORMED = { all: 2 ** -20, from: 'mean and variance in f32, each a sum of products; relative to the largest' };
const shapes = (...parameters: 1[]) =>
  [
    [5, 7],
    [1, 4],
    [2, 3, 64],
    [3, 129],
  ].map((x) => [x, ...parameters.map(() => x.slice(-1))]);

testOp('layer_norm', {
  op: (x, w, b) => x.layer_norm(w, b),
  reference: (x, w, b) => ref.layer_norm(x, w, b),
  inputs: shapes(1, 1),
  tolerance: NORMED,
  grad: [[3, 5], [5], [5]],
});
testOp('layer_norm without weights', {
  op: (x) => x.layer_norm(undefined, undefined, 1e-2),
  reference: (x) => ref.layer_norm(x, undefined, undefined, 1e-2),
  inputs: [[[5, 7]], [[1, 1]], [[4, 8]]],
  tolerance: NORMED,
  layouts: ['plain'],
  grad: [[3, 5]],
});
testOp('group_norm', {
  op: (x, w, b) => x.group_norm(2, w, b),
  reference: (x, w, b) => ref.group_norm(x, 2, w, b),
  inputs: [
    [[2, 6, 3, 5], [6], [6]],
    [[1, 4, 4, 4], [4], [4]],
    [[3, 2, 7], [2], [2]],
    [[5, 8], [8], [8]],
    [[2, 4, 2, 3, 3], [4], [4]],
  ],
  tolerance: NORMED,
  grad: [[2, 4, 3, 2], [4], [4]],
});
testOp('group_norm without weights', {
  op: (x) => x.group_norm(3, undefined, undefined, 1e-2),
  reference: (x) => ref.group_norm(x, 3, undefined, undefined, 1e-2),
  inputs: [[[2, 6, 5]], [[1, 3, 8, 8]]],
  tolerance: NORMED,
  layouts: ['plain'],
  grad: [[2, 6, 5]],
});
testOp('group_norm with a bias alone, and silu behind it', {
  op: (x, b) => x.group_norm(2, undefined, b).silu(),
  reference: (x, b) => ref.map((v) => v * ref.sigmoid(v))(ref.group_norm(x, 2, undefined, b)),
  inputs: [[[2, 4, 2, 6], [4]]],
  tolerance: NORMED,
  layouts: ['plain'],
  grad: [[2, 4, 3], [4]],
});
testOp('rms_norm', {
  op: (x, w) => x.rms_norm(w),
  reference: (x, w) => ref.rms_norm(x, w),
  inputs: shapes(1),
  tolerance: NORMED,
  grad: [[3, 5], [5]],
});
testOp('normalize', {
  op: (x) => x.normalize(),
  reference: (x) => ref.normalize(x),
  inputs: shapes(),
  tolerance: { all: 2 ** -20, from: 'a sum of squares, a root and a division' },
  dtypes: ['f32'],
  grad: [[3, 5]],
});
testOp('normalize another dimension', {
  op: (x) => x.normalize(0, 3),
  reference: (x) => ref.normalize(x, 0, 3),
  inputs: [[[3, 7]]],
  tolerance: NORMED,
  dtypes: ['f32'],
  layouts: ['plain'],
});

describe('norms', () => {
  it('keep small differences beside a large mean', async () => {
    const x = ref.nd([2, 64], ([r, c]) => 1000 + r! + (c! % 8) / 8);
    await expectClose(upload(x).layer_norm(), ref.layer_norm(x), { all: 2 ** -12, from: 'x itself has 2^-14 at 1000' });
  });
  it('of rows longer than a segment', async () => {
    const x = randomNd([2, 4100], 1);
    await expectClose(upload(x).layer_norm(), ref.layer_norm(x), NORMED);
    await expectClose(upload(x).rms_norm(), ref.rms_norm(x), NORMED);
    const maps = randomNd([1, 4, 2, 2051], 2);
    await expectClose(upload(maps).group_norm(2), ref.group_norm(maps, 2), NORMED);
  });
  it('of zeros are zeros', async () => {
    const x = tensor([[0, 0, 0]]);
    const zeros = Float32Array.of(0, 0, 0);
    expect(await x.layer_norm().data()).toEqual(zeros);
    expect(await x.rms_norm().data()).toEqual(zeros);
    expect(await x.normalize().data()).toEqual(zeros);
  });
});

it('group_norm with its weights and silu is one kernel', () => {
  const x = tensor(new Float32Array(64), [1, 4, 4, 4]);
  const v = tensor([1, 2, 3, 4]);
  expect(estimate([x.group_norm(2, v, v).silu()]).dispatches).toBe(1);
});

describe('norms of large halves', () => {
  const x = tensor([600, -500, 400, 300]).to('f16');
  const weights = tensor([1, 2, 3, 4]).to('f16');
  it.each([
    ['layer_norm', (t: Tensor) => t.layer_norm()],
    ['group_norm', (t: Tensor) => t.reshape([1, 1, 4]).group_norm(1).reshape([4])],
    ['rms_norm', (t: Tensor) => t.rms_norm()],
    ['normalize', (t: Tensor) => t.normalize()],
  ])('%s has the gradient of floats', async (_, norm) => {
    const slope = async (t: Tensor) => grad(norm(t).to('f32').mul(weights).sum(), [t])[0]!.data();
    const [half, float] = [await slope(x), await slope(x.to('f32'))];
    for (const [i, want] of float.entries())
      expect(Math.abs(half[i]! - want)).toBeLessThan(2 ** -9 * Math.abs(want) + 2e-6);
    expect(Math.max(...float.map(Math.abs))).toBeGreaterThan(1e-4);
  });
});

it('normalize of zeros has the slope 1 / eps', async () => {
  const w = tensor([
    [3, 4],
    [0, 0],
  ]);
  const [dw] = grad(
    w
      .normalize()
      .mul(tensor([1, 2]))
      .sum(),
    [w],
  );
  const [, row] = (await dw!.tolist()) as number[][];
  for (const [i, d] of row!.entries()) expect(Math.abs(d / ((i + 1) * 1e12) - 1)).toBeLessThan(1e-6);
});
