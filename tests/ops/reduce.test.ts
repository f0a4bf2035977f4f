import { describe, expect, it } from 'vitest';
import { full, grad, tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { positive } from '../samples.ts';
import { below, EXACT, expectClose, randomNd, testOp, upload } from './harness.ts';

const SUMMED = { all: 2 ** -20, from: '12 levels of a tree of eight chains of 512: a bound, errors cancel' };
const SHAPES = [[[5, 7]], [[1, 1]], [[3, 64]], [[13, 129]]];

testOp('sum of rows', {
  op: (x) => x.sum(-1),
  reference: (x) => ref.sum(x, [-1]),
  inputs: [...SHAPES, [[4, 0]], [[0, 4]]],
  tolerance: SUMMED,
  grad: [[3, 5]],
});
testOp('sum of columns', {
  op: (x) => x.sum(0, true),
  reference: (x) => ref.sum(x, [0], true),
  inputs: SHAPES,
  tolerance: SUMMED,
});
testOp('sum of two of three', {
  op: (x) => x.sum([0, 2]),
  reference: (x) => ref.sum(x, [0, 2]),
  inputs: [[[3, 4, 5]]],
  tolerance: SUMMED,
  grad: [[2, 3, 4]],
});
testOp('sum of all', {
  op: (x) => x.sum(),
  reference: (x) => ref.sum(x),
  inputs: [[[]], [[0]], [[3, 5, 7]], [[2, 4097]]],
  fill: positive, // a sum that cancels has no relative bound
  tolerance: SUMMED,
  layouts: ['plain', 'permuted'],
});
testOp('mean', {
  op: (x) => x.mean([-1], true),
  reference: (x) => ref.mean(x, [-1], true),
  inputs: SHAPES,
  tolerance: SUMMED,
  layouts: ['plain'],
  grad: [[3, 5]],
});
const gappy = (u: number) => (u < 0.05 ? Number.NaN : 4 * u - 2);
for (const [name, reference] of [
  ['max', ref.max],
  ['min', ref.min],
] as const) {
  testOp(`${name} where some are NaN`, {
    op: (x) => x[name](-1),
    reference: (x) => reference(x, [-1]),
    inputs: [[[13, 9]], [[3, 1]], [[2, 4099]]],
    fill: gappy,
    tolerance: EXACT,
    layouts: ['plain', 'permuted'],
  });
  testOp(name, {
    op: (x) => x[name](-1),
    reference: (x) => reference(x, [-1]),
    inputs: SHAPES,
    tolerance: EXACT,
    grad: [[3, 5]],
  });
  testOp(`${name} of negative and positive values apart`, {
    op: (x) => x[name](0),
    reference: (x) => reference(x, [0]),
    inputs: [[{ shape: [5, 3], fill: (u) => u + 1 }], [{ shape: [5, 3], fill: (u) => -u - 1 }]],
    tolerance: EXACT,
    result: 'f32',
    dtypes: ['f32'],
    layouts: ['plain'],
  });
}
testOp('argmax', {
  op: (x) => x.argmax(-1),
  reference: (x) => ref.argmax(x, -1),
  inputs: [[[5, 7]], [[1, 1]], [[13, 129]]],
  tolerance: EXACT,
  result: 'i32',
});
for (const [name, reference] of [
  ['argmax', ref.argmax],
  ['argmin', ref.argmin],
] as const) {
  testOp(`${name} where some are NaN`, {
    op: (x) => x[name](-1),
    reference: (x) => reference(x, -1),
    inputs: [[[13, 9]], [[3, 1]]],
    fill: gappy,
    tolerance: EXACT,
    result: 'i32',
    layouts: ['plain', 'permuted'],
  });
}
testOp('argmin of a dimension, first of equals', {
  op: (x) => x.argmin(0),
  reference: (x) => ref.argmin(x, 0),
  inputs: [[[7, 5]]],
  fill: below(3),
  tolerance: EXACT,
  dtypes: ['f32', 'u32'],
  result: 'i32',
  layouts: ['plain'],
});
testOp('argmax of a dimension, first of equals', {
  op: (x) => x.argmax(1, true),
  reference: (x) => ref.argmax(x, 1, true),
  inputs: [[[3, 5, 4]]],
  fill: below(3),
  tolerance: EXACT,
  dtypes: ['f32', 'i32'],
  result: 'i32',
  layouts: ['plain'],
});
testOp('argmax of all', {
  op: (x) => x.argmax(),
  reference: (x) => ref.argmax(x),
  inputs: [[[3, 5, 4]], [[]]],
  tolerance: EXACT,
  result: 'i32',
  layouts: ['plain'],
});
testOp('integers', {
  op: (x) => x.sum(0).add(x.max(0)).sub(x.min(0)),
  reference: (x) => ref.map((a, b, c) => a + b - c)(ref.sum(x, [0]), ref.max(x, [0]), ref.min(x, [0])),
  inputs: [[[7, 5]]],
  fill: (u) => below(100)(u) - 50,
  tolerance: EXACT,
  dtypes: ['i32'],
  layouts: ['plain', 'sliced'],
});

describe('long rows', () => {
  it('are reduced in segments', async () => {
    const x = randomNd([2, 3 * 4096 + 5], 1, 'f32', positive);
    x.data[9000] = 5;
    await expectClose(upload(x).sum(1), ref.sum(x, [1]), SUMMED);
    await expectClose(upload(x).max(1), ref.max(x, [1]), EXACT);
  });
  it('give each element its gradient', async () => {
    const x = tensor(new Float32Array(4100).fill(1));
    const [dx] = grad(x.sum().mul(3), [x]);
    expect((await dx!.data()).every((v) => v === 3)).toBe(true);
  });
  it('share the gradient of an extreme among equals', async () => {
    const x = tensor(new Float32Array(4100).map((_, i) => Number(i < 4000 && i % 1000 === 7)));
    const dx = await grad(x.max(), [x])[0]!.data();
    expect([7, 8, 1007, 3007, 4007].map((i) => dx[i])).toEqual([0.25, 0, 0.25, 0.25, 0]);
  });
  it('share it across segments too', async () => {
    const x = tensor(new Float32Array(9000).map((_, i) => Number([3, 5, 7, 8999].includes(i))));
    const dx = await grad(x.max().mul(2), [x])[0]!.data();
    expect([3, 5, 7, 8, 5000, 8999].map((i) => dx[i])).toEqual([0.5, 0.5, 0.5, 0, 0, 0.5]);
  });
  it('are as many as fill 65,537 workgroups', async () => {
    const rows = 16 * 65536 + 1; // 16 threads of a workgroup on software adapters
    const x = new Float32Array(rows * 4).map((_, i) => i % 1024);
    const y = tensor(x, [rows, 4]).sum(1);
    const got = await y.data();
    expect(got.findIndex((v, r) => v !== x[4 * r]! * 4 + 6)).toBe(-1);
    y.dispose();
  });
});

describe('sum and mean', () => {
  it('count booleans', async () => {
    expect(await tensor([true, false, true]).sum().item()).toBe(2);
    expect(await tensor([true, false, true, true]).mean().item()).toBe(0.75);
  });
  it('of nothing are 0 and NaN', async () => {
    expect(await tensor([]).sum().item()).toBe(0);
    expect(await tensor([]).mean().item()).toBeNaN();
  });
});

it('mean of halves does not overflow on the way', async () => {
  expect(await full([300_000], 0.5, 'f16').mean().item()).toBe(0.5);
});

it('more elements than a kernel counts are refused, stored or not', async () => {
  await expect(full([65536, 65536], 1).sum().item()).rejects.toThrow('kernels count to 2^32');
  const a = full([70_000], 1).add(0);
  await expect(a.unsqueeze(1).mul(a.unsqueeze(0)).mean().item()).rejects.toThrow('kernels count to 2^32');
});
