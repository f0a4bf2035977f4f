import { describe, expect, it } from 'vitest';
import { tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { testOp } from './harness.ts';

const SHAPES = [[[5, 7]], [[1, 1]], [[3, 64]], [[2, 3, 129]], [[0, 4]]];
const wide = (u: number) => 40 * u - 20;
const EXP = {
  each: 2 ** -18,
  from: 'x - max rounds by 2^-19 above 32, and exp turns an absolute error into a relative one',
};
const LOG = { all: 2 ** -21, from: 'as softmax, of values up to 40' };

testOp('softmax', {
  op: (x) => x.softmax(),
  reference: (x) => ref.softmax(x),
  inputs: SHAPES,
  fill: wide,
  tolerance: EXP,
});
testOp('log_softmax', {
  op: (x) => x.log_softmax(),
  reference: (x) => ref.log_softmax(x),
  inputs: SHAPES,
  fill: wide,
  tolerance: LOG,
});
for (const [name, reference] of [
  ['softmax', ref.softmax],
  ['log_softmax', ref.log_softmax],
] as const) {
  testOp(`${name} of another dimension`, {
    op: (x) => x[name](0),
    reference: (x) => reference(x, 0),
    inputs: [[[5, 7]], [[4, 3, 2]]],
    tolerance: { each: 2 ** -20, all: 2 ** -21, from: 'as above, of smaller values' },
    grad: [[4, 3]],
  });
}

describe('softmax', () => {
  it('of masked places is zero, and equal where all is masked', async () => {
    const low = -3.4028234663852886e38;
    const x = tensor([
      [0, low, 0],
      [low, low, low],
      [88, -3e38, 3e38],
    ]);
    const third = Math.fround(1 / 3);
    const y = (await x.softmax(-1).tolist()) as number[][];
    expect(y[0]).toEqual([0.5, 0, 0.5]);
    for (const v of y[1]!) expect(v).toBeCloseTo(third, 6);
    expect(y[2]).toEqual([0, 0, 1]);
  });
  it('of rows longer than a segment adds up to one', async () => {
    const x = tensor(
      new Float32Array(2 * 4100).map((_, i) => i % 13),
      [2, 4100],
    );
    for (const v of await x.softmax(-1).sum(-1).data()) expect(v).toBeCloseTo(1, 5);
  });
});
