import { describe, expect, it } from 'vitest';
import { tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { below, EXACT, type Input, testOp } from './harness.ts';

const index = (shape: number[], n: number, dtype: 'i32' | 'u32' = 'i32'): Input => ({ shape, dtype, fill: below(n) });

testOp('gather', {
  op: (x, i) => x.gather(1, i),
  reference: (x, i) => ref.gather(x, 1, i),
  inputs: [
    [[3, 5], index([3, 7], 5)],
    [[2, 4, 3], index([2, 2, 3], 4)],
    [[2, 8, 4], index([2, 3, 4], 8, 'u32')],
    [[2, 3], index([2, 0], 3)],
  ],
  tolerance: EXACT,
  grad: [[2, 4, 3], index([2, 5, 3], 4)],
});
testOp('gather from the first dimension', {
  op: (x, i) => x.gather(0, i),
  reference: (x, i) => ref.gather(x, 0, i),
  inputs: [
    [[5], index([9], 5)],
    [[5, 3], index([2, 3], 5)],
  ],
  tolerance: EXACT,
  layouts: ['plain'],
  grad: [[3, 2], index([4, 2], 3)],
});
testOp('embedding', {
  op: (ids, weight) => ids.embedding(weight),
  reference: (ids, weight) => ref.embedding(weight, ids),
  inputs: [
    [index([7], 5), [5, 8]],
    [index([2, 3], 11), [11, 3]],
    [index([], 2, 'u32'), [2, 4]],
    [index([0], 2), [2, 4]],
  ],
  tolerance: EXACT,
  result: 'f32',
  grad: [index([2, 3], 4), [4, 3]],
});
testOp('index_select', {
  op: (x, i) => x.index_select(1, i),
  reference: (x, i) =>
    ref.nd([x.shape[0]!, i.shape[0]!, ...x.shape.slice(2)], ([a, b, ...rest]) =>
      ref.at(x, [a!, ref.at(i, [b!]), ...rest]),
    ),
  inputs: [
    [[3, 5], index([7], 5)],
    [[2, 4, 4], index([3], 4)],
  ],
  tolerance: EXACT,
  grad: [[2, 4, 3], index([5], 4)],
});

describe('indices', () => {
  it('out of range that the host cannot see are taken to the nearest', async () => {
    const late = tensor([-3, 0, 9], { dtype: 'i32' }).add(0);
    expect(await tensor([5, 6, 7]).gather(0, late).data()).toEqual(Float32Array.of(5, 5, 7));
  });
  it('may be used twice: gradients add up', async () => {
    const weight = tensor([
      [1, 2],
      [3, 4],
    ]);
    const { grad } = await import('../../src/index.ts');
    const loss = tensor([0, 0, 0], { dtype: 'i32' }).embedding(weight).sum();
    expect(await grad(loss, [weight])[0]!.tolist()).toEqual([
      [3, 3],
      [0, 0],
    ]);
  });
});
