import { describe, expect, it } from 'vitest';
import { contrastive_loss, cross_entropy, grad, tensor } from '../../src/index.ts';
import { below, testOp } from '../ops/harness.ts';
import * as ref from '../reference.ts';

const SUMMED = { all: 2 ** -20, from: 'a log softmax of rows below 40 and a mean' };

/** Mean over the rows that count of log sum exp(x) - x[target]. */
function crossEntropy(logits: ref.Nd, target: readonly number[]): ref.Nd {
  const rows = target.flatMap((t, n) => {
    const row = Array.from({ length: logits.shape[1]! }, (_, c) => ref.at(logits, [n, c]));
    return t < 0 ? [] : [Math.log(row.reduce((s, x) => s + Math.exp(x), 0)) - row[t]!];
  });
  return ref.nd([], () => rows.reduce((a, b) => a + b, 0) / rows.length);
}

testOp('cross_entropy', {
  op: (logits, target) => cross_entropy(logits, target),
  reference: (logits, target) => crossEntropy(logits, [...target.data]),
  inputs: [
    [[5, 7], { shape: [5], dtype: 'i32', fill: below(7) }],
    [[3, 37], { shape: [3], dtype: 'u32', fill: below(37) }],
    [[1, 1], { shape: [1], dtype: 'i32', fill: below(1) }],
  ],
  tolerance: SUMMED,
  result: 'f32',
  grad: [[4, 5], { shape: [4], dtype: 'i32', fill: below(5) }],
});
testOp('cross_entropy with rows that do not count', {
  op: (logits) => cross_entropy(logits, tensor([2, -100, 0, -100], { dtype: 'i32' })),
  reference: (logits) => crossEntropy(logits, [2, -100, 0, -100]),
  inputs: [[[4, 5]]],
  tolerance: SUMMED,
  result: 'f32',
  layouts: ['plain'],
  grad: [[4, 5]],
});
testOp('contrastive_loss', {
  op: (logits) => contrastive_loss(logits),
  reference: (logits) => {
    const diagonal = Array.from({ length: logits.shape[0]! }, (_, i) => i);
    const [a, b] = [logits, ref.permute(logits, [1, 0])].map((x) => crossEntropy(x, diagonal).data[0]!);
    return ref.nd([], () => (a! + b!) / 2);
  },
  inputs: [[[5, 5]], [[1, 1]]],
  tolerance: SUMMED,
  result: 'f32',
  layouts: ['plain'],
  grad: [[4, 4]],
});

describe('cross_entropy', () => {
  it('gives rows that do not count no gradient', async () => {
    const logits = tensor([
      [1, 2],
      [3, 4],
    ]);
    const [d] = grad(cross_entropy(logits, tensor([0, -100], { dtype: 'i32' })), [logits]);
    expect(((await d!.tolist()) as number[][])[1]).toEqual([0, 0]);
  });
  it('says what it wants', () => {
    expect(() => cross_entropy(tensor([[1, 2]]), tensor([2], { dtype: 'i32' }))).toThrow('got 2, want 0..1');
    expect(() => cross_entropy(tensor([[1, 2]]), tensor([0, 1], { dtype: 'i32' }))).toThrow(
      '[cross_entropy] shapes: got logits [1,2], target [2]; want [N, C] and [N]',
    );
  });
});
