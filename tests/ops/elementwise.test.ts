import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import elementwise from '../../shaders/elementwise.wgsl';
import { kernel } from '../../src/exec/kernel.ts';
import { arange, grad, ones_like, tensor, zeros_like } from '../../src/index.ts';
import { op } from '../../src/tensor/op.ts';
import { ARITHMETIC, BINARY, type Binary, CHOICES, COMPARE, DIV, MATH, POW } from '../elementwise.ts';
import * as ref from '../reference.ts';
import { below, EXACT, type Input, ROUNDED, testOp } from './harness.ts';

const BOOLS: Input = { shape: [7, 13], dtype: 'bool' };

for (const [name, [op, f, tolerance, fill]] of Object.entries({ ...ARITHMETIC, ...MATH })) {
  testOp(name, {
    op,
    reference: ref.map(f),
    inputs: [[[0]], [[1]], [[7, 13]]],
    tolerance,
    layouts: ['plain'],
    grad: [[3, 5]],
    ...(fill && { fill }),
  });
}

for (const [name, [op, f, tolerance]] of Object.entries({ ...BINARY, div: DIV, pow: POW })) {
  testOp(name, {
    op,
    reference: ref.map(f),
    inputs: [
      [
        [7, 13],
        [7, 13],
      ],
      [[5, 1], [3]],
    ],
    tolerance,
    layouts: ['plain'],
    grad: [[3, 5], [5]],
  });
}

/** Two shapes that broadcast: sizes of one, with some of them 1 and leading ones dropped. */
const broadcasting = fc
  .record({
    shape: fc.array(fc.constantFrom(1, 2, 3, 4, 8, 13), { maxLength: 4 }),
    ones: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    drop: fc.nat(4),
  })
  .map(({ shape, ones, drop }) => [shape, shape.map((n, i) => (ones[i] ? 1 : n)).slice(Math.min(drop, shape.length))]);
testOp('add broadcasts', {
  op: (a, b) => a.add(b),
  reference: ref.map((a, b) => a + b),
  inputs: broadcasting,
  tolerance: ROUNDED,
});
testOp('add', {
  op: (a, b) => a.add(b),
  reference: ref.map((a, b) => a + b),
  inputs: [
    [[0, 3], [3]],
    [[], []],
    [[1], []],
    [
      [65, 67],
      [65, 1],
    ],
    [
      [4, 1, 8, 1],
      [1, 6, 1, 12],
    ],
    [
      [2, 1, 3, 1, 2, 3],
      [3, 1, 2, 1, 1],
    ],
  ],
  tolerance: ROUNDED,
  grad: [
    [2, 1, 3],
    [4, 1],
  ],
});
testOp('where', {
  ...CHOICES.where,
  reference: CHOICES.where.want,
  inputs: [[BOOLS, [7, 13], [13]]],
  tolerance: EXACT,
  grad: [{ shape: [3, 4], dtype: 'bool' }, [3, 4], [4]],
});
testOp('masked_fill', {
  ...CHOICES.masked_fill,
  reference: CHOICES.masked_fill.want,
  inputs: [[[5, 6], { shape: [6], dtype: 'bool' }]],
  tolerance: EXACT,
  layouts: ['plain'],
  grad: [[3, 4], { shape: [4], dtype: 'bool' }],
});

for (const [name, [op, f]] of Object.entries(COMPARE)) {
  testOp(name, {
    op,
    reference: ref.map((a: number, b: number) => Number(f(a, b))),
    inputs: [[[7, 13], [13]]],
    fill: below(3),
    tolerance: EXACT,
    dtypes: ['f32', 'f16', 'i32', 'u32', 'bool'],
    result: 'bool',
    layouts: ['plain'],
  });
}

const chosen: Binary = [(a, b) => a.gt(3).where(a, b), (a, b) => (a > 3 ? a : b), EXACT];
for (const [name, [op, f]] of Object.entries({ ...BINARY, where: chosen })) {
  testOp(`${name} of integers`, {
    op,
    reference: ref.map(f),
    inputs: [
      [
        { shape: [7, 13], fill: (u) => 50 + below(50)(u) },
        { shape: [13], fill: below(50) },
      ],
    ],
    tolerance: EXACT,
    dtypes: ['i32', 'u32'],
    layouts: name === 'add' ? ['plain', 'permuted', 'sliced', 'expanded'] : ['plain'],
  });
}
testOp('neg and abs of integers', {
  op: (x) => x.neg().abs().sub(x),
  reference: ref.map((x) => Math.abs(x) - x),
  inputs: [[[7, 13]]],
  fill: (u) => below(100)(u) - 50,
  tolerance: EXACT,
  dtypes: ['i32'],
  layouts: ['plain'],
});

const TYPES = ['f32', 'f16', 'i32', 'u32', 'bool'] as const;
for (const type of TYPES) {
  testOp(`to ${type}`, {
    op: (x) => x.to(type),
    reference: ref.casts[type],
    inputs: [[[7, 13]]],
    fill: (u) => Math.max(0, 8 * u - 2), // with zeros
    tolerance: EXACT,
    dtypes: TYPES,
    result: type,
    layouts: ['plain', 'permuted'],
  });
}

describe('numbers as operands', () => {
  const x = () => tensor([1, 2, 3], { dtype: 'i32' });
  it('take the type of the tensor, f32 where they do not fit', async () => {
    expect(await x().add(2).data()).toEqual(Int32Array.of(3, 4, 5));
    expect(await x().add(0.5).data()).toEqual(Float32Array.of(1.5, 2.5, 3.5));
    expect(await x().div(2).data()).toEqual(Float32Array.of(0.5, 1, 1.5));
    expect(await tensor([true, false]).add(1).data()).toEqual(Int32Array.of(2, 1));
    expect(x().to('f16').mul(0.5).dtype).toBe('f16');
    expect(await x().to('u32').mul(3).data()).toEqual(Uint32Array.of(3, 6, 9));
  });
  it('of integers are f32 where their type cannot hold them', async () => {
    expect(await x().lt(3e9).tolist()).toEqual([true, true, true]);
    expect(await x().to('u32').gt(-1).tolist()).toEqual([true, true, true]);
    expect(await x().to('u32').sub(-1).data()).toEqual(Float32Array.of(2, 3, 4));
    expect(await x().to('u32').lt(4294967295).tolist()).toEqual([true, true, true]);
    expect(await x().add(-2147483648).data()).toEqual(Int32Array.of(-2147483647, -2147483646, -2147483645));
    expect(await tensor([true, false]).lt(3e9).tolist()).toEqual([true, true]);
  });
  it('of two types the wider one wins', () => {
    expect(x().add(tensor([1.5])).dtype).toBe('f32');
    expect(x().add(tensor([1.5]).to('f16')).dtype).toBe('f16');
    expect(x().add(x().to('u32')).dtype).toBe('i32');
  });
});

it('booleans as operands are 0 and 1, and keep the type', async () => {
  expect(await tensor([1, 2], { dtype: 'i32' }).add(true).data()).toEqual(Int32Array.of(2, 3));
  expect(await tensor([0.5]).mul(true).data()).toEqual(Float32Array.of(0.5));
  expect(await tensor([true, false]).eq(false).tolist()).toEqual([false, true]);
  expect(await tensor([true, false]).where(false, true).tolist()).toEqual([false, true]);
});

describe('booleans', () => {
  const t = () => tensor([true, true, false]);
  it('are numbers in arithmetic, fused or stored', async () => {
    const sum = t().add(tensor([true, false, false]));
    expect([sum.dtype, await sum.mul(3).data(), await sum.data()]).toEqual([
      'i32',
      Int32Array.of(6, 3, 0),
      Int32Array.of(2, 1, 0),
    ]);
    expect(await t().neg().data()).toEqual(Int32Array.of(-1, -1, 0));
    expect(
      await t()
        .sub(tensor([false, true, true]))
        .data(),
    ).toEqual(Int32Array.of(1, 0, -1));
    expect((await t().maximum(t()).data()).constructor).toBe(Int32Array);
  });
  it('stay booleans where they are compared and chosen', async () => {
    expect(
      await t()
        .eq(tensor([true, false, false]))
        .tolist(),
    ).toEqual([true, false, true]);
    expect(
      await t()
        .where(t(), tensor([true, true, true]))
        .tolist(),
    ).toEqual([true, true, true]);
  });
});

describe('special values', () => {
  it('NaN is the larger and the smaller of both, on either side', async () => {
    const [a, b] = [tensor([Number.NaN, 1, 2]), tensor([1, Number.NaN, 3])];
    expect(await a.maximum(b).data()).toEqual(Float32Array.of(Number.NaN, Number.NaN, 3));
    expect(await a.minimum(b).data()).toEqual(Float32Array.of(Number.NaN, Number.NaN, 2));
    expect(await a.maximum(1).data()).toEqual(Float32Array.of(Number.NaN, 1, 2));
  });
  it('reach the extremes of f32 and f16', async () => {
    const x = tensor([3.4e38, -3.4e38, 2e-38, 70000, 65504]);
    expect(await x.mul(10).data()).toEqual(
      Float32Array.from([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2e-37, 700000, 655040]),
    );
    expect((await x.to('f16').data()).slice(3)).toEqual(Float32Array.of(Number.POSITIVE_INFINITY, 65504));
  });
  it('give NaN where there is no result', async () => {
    expect(await tensor([-1, -1]).sqrt().data()).toEqual(Float32Array.of(Number.NaN, Number.NaN));
    expect(await tensor([-1, 0]).log().data()).toEqual(Float32Array.of(Number.NaN, Number.NEGATIVE_INFINITY));
  });
});

describe('gradients of powers', () => {
  it('at 0 are what PyTorch has', async () => {
    const [x, n] = [tensor([0, 0, 0, -2, 3]), tensor([0, 1, 2, 3, -1])];
    const [dx, dn] = grad(x.pow(n).sum(), [x, n]);
    expect(await dx!.data()).toEqual(Float32Array.of(0, 1, 0, 12, -1 / 9));
    const slopes = await dn!.data();
    expect([...slopes.slice(0, 4)]).toEqual([0, 0, 0, Number.NaN]);
    expect(slopes[4]).toBeCloseTo(Math.log(3) / 3, 6);
  });
  it('with a number for the exponent', async () => {
    const x = tensor([0.25, 4]);
    expect(await grad(x.pow(2).sum(), [x])[0]!.data()).toEqual(Float32Array.of(0.5, 8));
    expect(await grad(x.pow(-0.5).sum(), [x])[0]!.data()).toEqual(Float32Array.of(-4, -1 / 16));
    expect(await tensor([3], { dtype: 'i32' }).pow(3).data()).toEqual(Float32Array.of(27));
  });
});

describe('gradients of ties', () => {
  it('are shared', async () => {
    const [a, b] = [tensor([1, 2, 3]), tensor([1, 3, 2])];
    const [da, db] = grad(a.maximum(b).sum(), [a, b]);
    expect(await da!.data()).toEqual(Float32Array.of(0.5, 0, 1));
    expect(await db!.data()).toEqual(Float32Array.of(0.5, 1, 0));
    const c = tensor([0, -1, 1]);
    expect(await grad(c.relu().sum(), [c])[0]!.data()).toEqual(Float32Array.of(0, 0, 1));
    expect(await grad(c.abs().sum(), [c])[0]!.data()).toEqual(Float32Array.of(0, -1, 1));
  });
});

describe('arange, zeros_like, ones_like', () => {
  it('have their values and types', async () => {
    expect(await arange(5).data()).toEqual(Int32Array.of(0, 1, 2, 3, 4));
    expect(await arange(3, 'f32').data()).toEqual(Float32Array.of(0, 1, 2));
    expect(await arange(0).data()).toEqual(new Int32Array(0));
    expect(await arange(6).reshape([2, 3]).transpose(0, 1).tolist()).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
    ]);
    expect(await zeros_like(tensor([[1], [2]])).tolist()).toEqual([[0], [0]]);
    expect(await ones_like(tensor([true, false])).tolist()).toEqual([true, true]);
  });
});

describe('more workgroups than one dimension holds', () => {
  it('are folded into two', async () => {
    const place = 'fn place(i:u32)->V{return iota(i+vec4u(0u,1u,2u,3u));}';
    // as in a tensor of 67 million elements, in workgroups of four
    const wide = op(
      {
        name: 'wide',
        backward: null,
        dispatch: (_, y) => {
          const changes = { WG: 1, QUADS: 1, value: 'place' };
          return [
            kernel({ ...elementwise, declarations: { ...elementwise.declarations, place } })(
              { y },
              { params: { n: y.size }, groups: Math.ceil(y.size / 4), aligned: ['y'], changes },
            ),
          ];
        },
      },
      () => ({ shape: [4 * 65537 + 1], dtype: 'f32' }),
    );
    const y = wide([]);
    const got = await y.data();
    expect(got.findIndex((v, i) => v !== i)).toBe(-1);
    y.dispose();
  });
});
