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
    [index([5], 7), [7, 32]],
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

describe('integers and booleans', () => {
  const places = tensor([2, 0], { dtype: 'i32' });
  const pair = tensor([[2, 0, 0, 0, 2]], { dtype: 'i32' });
  it('move as they are', async () => {
    const large = Int32Array.of(16777217, -2147483648, 2147483647);
    expect(await tensor(large).index_select(0, places).data()).toEqual(Int32Array.of(2147483647, 16777217));
    const words = Uint32Array.of(16777217, 1, 4294967295);
    expect(await tensor(words).index_select(0, places).data()).toEqual(Uint32Array.of(4294967295, 16777217));
    expect(await tensor(words, [1, 3]).gather(1, pair).data()).toEqual(
      Uint32Array.of(4294967295, 16777217, 16777217, 16777217, 4294967295),
    );
    const rows = tensor(
      Int32Array.from({ length: 12 }, (_, i) => 16777217 + 2 * i),
      [3, 4],
    );
    expect((await rows.index_select(0, places).data()).slice(0, 5)).toEqual(
      Int32Array.of(16777233, 16777235, 16777237, 16777239, 16777217),
    );
    expect(await tensor([true, false, false]).index_select(0, places).tolist()).toEqual([false, true]);
    expect(
      await tensor([[true], [false], [true]])
        .expand([3, 8])
        .index_select(0, places)
        .select(1, 7)
        .tolist(),
    ).toEqual([true, true]);
  });
});

describe('indices', () => {
  it('are checked where the view looks, not around it', async () => {
    const index = tensor([9, 1, 9, 0], { dtype: 'i32' }).slice(0, 1, 4, 2);
    expect(await tensor([5, 6]).gather(0, index).data()).toEqual(Float32Array.of(6, 5));
    expect(() =>
      tensor([5, 6]).gather(
        0,
        tensor([[0, 9]], { dtype: 'i32' })
          .transpose(0, 1)
          .select(1, 0),
      ),
    ).toThrow('got 9, want 0..1');
  });
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
