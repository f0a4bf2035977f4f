import { describe, expect, it } from 'vitest';
import { concat, run, stack, tensor } from '../../src/index.ts';
import { unslice } from '../../src/ops/unslice.ts';
import * as ref from '../reference.ts';
import { EXACT, testOp } from './harness.ts';

const ALL = ['f32', 'f16', 'i32', 'u32', 'bool'] as const;
testOp('concat of the last dimension', {
  op: (a, b, c) => concat([a, b, c], -1),
  reference: (a, b, c) => ref.concat([a!, b!, c!], a!.shape.length - 1),
  inputs: [
    [
      [3, 4],
      [3, 8],
      [3, 4],
    ],
    [
      [5, 3],
      [5, 0],
      [5, 1],
    ],
    [[0], [7], [64]],
  ],
  tolerance: EXACT,
  dtypes: ALL,
  grad: [
    [2, 3],
    [2, 1],
    [2, 2],
  ],
});
testOp('concat of the first dimension', {
  op: (a, b) => concat([a, b]),
  reference: (a, b) => ref.concat([a!, b!], 0),
  inputs: [
    [
      [2, 3],
      [1, 3],
    ],
    [
      [0, 4],
      [3, 4],
    ],
  ],
  tolerance: EXACT,
  grad: [
    [2, 3],
    [1, 3],
  ],
});
testOp('stack', {
  op: (a, b) => stack([a, b], 1),
  reference: (a, b) =>
    ref.concat(
      [a!, b!].map((x) => ref.reshape(x, [2, 1, 3])),
      1,
    ),
  inputs: [
    [
      [2, 3],
      [2, 3],
    ],
  ],
  tolerance: EXACT,
  grad: [
    [2, 3],
    [2, 3],
  ],
});
testOp('pad', {
  op: (x) => x.pad([1, 2, 0, 3], 7),
  reference: (x) => ref.pad(x, [1, 2, 0, 3], 7),
  inputs: [[[2, 3, 5]], [[4, 1]]],
  tolerance: EXACT,
  dtypes: ALL.slice(0, 4),
  layouts: ['plain', 'sliced'],
  grad: [[2, 3, 2]],
});
testOp('pad by less than nothing', {
  op: (x) => x.pad([-1, 2, 1, -1]),
  reference: (x) => ref.pad(x, [-1, 2, 1, -1]),
  inputs: [[[3, 5]]],
  tolerance: EXACT,
  layouts: ['plain'],
  grad: [[3, 5]],
});
testOp('unslice', {
  op: (x) => unslice(x, 1, 1, 3, 8),
  reference: (x) => ref.nd([x.shape[0]!, 8], ([i, j]) => (j! % 3 === 1 ? ref.at(x, [i!, (j! - 1) / 3]) : 0)),
  inputs: [[[2, 3]]],
  tolerance: EXACT,
  layouts: ['plain'],
  grad: [[2, 3]],
});

describe('concat', () => {
  it('takes the widest type', async () => {
    const y = concat([tensor([1, 2], { dtype: 'i32' }), tensor([0.5])]);
    expect(await y.data()).toEqual(Float32Array.of(1, 2, 0.5));
  });
  it('of one tensor is that tensor', () => {
    const x = tensor([1, 2]);
    expect(concat([x])).toBe(x);
  });
  it('fills 65,537 workgroups', async () => {
    const x = new Float32Array(64 * 65536 + 1).map((_, i) => i); // an odd size: an element in each thread
    const y = concat([tensor(x), tensor([x.length])]);
    const got = await y.data();
    expect(got.findIndex((v, i) => v !== i)).toBe(-1);
    y.dispose();
  });
});

describe('overwrite', () => {
  const state = () => tensor(new Float32Array(12), [3, 4]);
  it('writes rows or columns in place', async () => {
    const a = state().overwrite(tensor([[1, 2, 3, 4]]), 0, 1);
    expect(await a.tolist()).toEqual([
      [0, 0, 0, 0],
      [1, 2, 3, 4],
      [0, 0, 0, 0],
    ]);
    const b = a.overwrite(tensor([[5], [6], [7]]), 1, 3);
    expect(await b.tolist()).toEqual([
      [0, 0, 0, 5],
      [1, 2, 3, 6],
      [0, 0, 0, 7],
    ]);
    const c = b
      .overwrite(
        tensor([
          [8, 9],
          [8, 9],
          [8, 9],
        ]),
        -1,
        0,
      )
      .overwrite(tensor([[0, 0, 0, 1]]), 0, 2);
    expect(await c.tolist()).toEqual([
      [8, 9, 0, 5],
      [8, 9, 3, 6],
      [0, 0, 0, 1],
    ]);
  });
  it('may be read in the same run', async () => {
    const next = (await state().realize()).overwrite(tensor([[1, 2, 3, 4]]), 0, 0);
    const sum = next.sum();
    await run([next, sum]);
    expect(await sum.item()).toBe(10);
    expect(await next.sum(1).data()).toEqual(Float32Array.of(10, 0, 0));
  });
  it('makes the old handle stale', async () => {
    const old = await state().realize();
    const next = await old.overwrite(tensor([[1, 2, 3, 4]]), 0, 0).realize();
    await expect(old.data()).rejects.toThrow(/overwritten/);
    await expect(old.add(1).data()).rejects.toThrow(/overwritten/);
    old.dispose();
    expect(await next.sum().item()).toBe(10);
  });
  it('refuses a run that reads the old values too', async () => {
    const old = await state().realize();
    const next = old.overwrite(tensor([[1, 2, 3, 4]]), 0, 0);
    await expect(run([next, old.add(1)])).rejects.toThrow(/read and overwritten in one run/);
    expect(await old.sum().item()).toBe(0);
  });
});
