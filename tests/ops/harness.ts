// An op against its float64 reference: in every storage type, from every kind of view, and its gradient against central
// differences of the reference. Values are pseudo-random and the same in every run.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grad, run, type Tensor, tensor } from '../../src/index.ts';
import type { DType } from '../../src/tensor/dtype.ts';
import { at, casts, expand, map, type Nd, nd, permute, type Shape } from '../reference.ts';

/** A float input of this shape, or one of a fixed type. `fill` turns a number in [0, 1) into an element. */
export type Input = Shape | { shape: Shape; dtype?: DType; fill?: Fill };
type Fill = (u: number) => number;

/** |got - want| <= each |want| + all max |want| + least. `from`: why these numbers. */
export type Tolerance = { each?: number; all?: number; least?: number; from: string };

export type Spec = {
  op: (...x: Tensor[]) => Tensor;
  reference: (...x: Nd[]) => Nd;
  /** Sets of inputs to run on, or an arbitrary of them. */
  inputs: readonly (readonly Input[])[] | fc.Arbitrary<readonly Input[]>;
  tolerance: Tolerance;
  /** How float inputs are stored; both by default. */
  dtypes?: readonly DType[];
  /** The type of the result; by default that of the inputs. */
  result?: DType;
  fill?: Fill;
  layouts?: readonly (keyof typeof LAYOUTS)[];
  /** Inputs to check the gradient on. */
  grad?: readonly Input[];
};

export const EXACT: Tolerance = { from: 'no rounding' };
export const ROUNDED: Tolerance = { each: 2 ** -24, from: 'one correct rounding to f32' };
const F16_ULP = 2 ** -10; // WGSL, conversion to f16: one of the two neighbours
const F16_TINY = 2 ** -24; // the smallest subnormal
const STEP = 1e-4; // of central differences: errors of 1e-8 f''' by the step and 1e-12 by float64
const GRADIENT = 1e-4; // of the largest element: several f32 ops, each within a few ulp of values that may cancel

export const DEFAULT_FILL: Fill = (u) => 4 * u - 2;
/** Integers below n. */
export const below =
  (n: number): Fill =>
  (u) =>
    Math.floor(u * n);

/** Marsaglia's xorshift32: numbers in [0, 1). */
export function random(seed: number): () => number {
  let s = Math.imul(seed, 2654435761) | 1;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) / 2 ** 32;
  };
}
export const randomNd = (shape: Shape, seed: number, fill: Fill = DEFAULT_FILL): Nd => {
  const next = random(seed);
  return nd(shape, () => fill(next()));
};

export const upload = (x: Nd, dtype: DType = 'f32'): Tensor =>
  dtype === 'f32' || dtype === 'f16'
    ? tensor(Float32Array.from(x.data), x.shape).to(dtype)
    : tensor([...x.data], x.shape, { dtype });

/** A tensor and its values, stored in some way. What lies around a view's elements must never count, not even times 0. */
type Layout = (x: Nd, dtype: DType) => { value: Nd; x: Tensor };
const plain: Layout = (value, dtype) => ({ value, x: upload(value, dtype) });
const permuted: Layout = (value, dtype) => {
  const order = value.shape.map((_, d) => d).reverse();
  return { value, x: upload(permute(value, order), dtype).permute(order) };
};
/** Every second of the first dimension, and the last from an odd place on. */
const sliced: Layout = (value, dtype) => {
  const [first = 1, ...rest] = value.shape;
  const last = rest.at(-1);
  if (last === undefined) return plain(value, dtype);
  const around = dtype === 'f32' || dtype === 'f16' ? Number.NaN : 77;
  const wide = nd([2 * first, ...rest.slice(0, -1), last + 3], (i) => {
    const inside = i[0]! % 2 === 0 && i.at(-1)! >= 1 && i.at(-1)! <= last;
    return inside ? at(value, [i[0]! / 2, ...i.slice(1, -1), i.at(-1)! - 1]) : around;
  });
  const x = upload(wide, dtype)
    .slice(0, 0, 2 * first, 2)
    .slice(-1, 1, 1 + last);
  return { value, x };
};
const expanded: Layout = (value, dtype) => {
  if (!(value.shape[0]! > 1)) return plain(value, dtype);
  const row = nd([1, ...value.shape.slice(1)], (i) => at(value, i));
  return { value: expand(row, value.shape), x: upload(row, dtype).expand(value.shape) };
};
const LAYOUTS = { plain, permuted, sliced, expanded };

const scaleOf = (x: Nd) => x.data.reduce((m, v) => Math.max(m, Math.abs(v)), 0);

/** The values of a tensor against the reference; says where the worst one is. */
export async function expectClose(
  y: Tensor,
  want: Nd,
  { each = 0, all = 0, least = 0, from }: Tolerance,
): Promise<void> {
  expect(y.shape).toEqual(want.shape);
  const got = await y.data();
  const half = y.dtype === 'f16';
  const floor = all * scaleOf(want) + least + (half ? F16_TINY : 0);
  let worst = { excess: 0, text: '' };
  want.data.forEach((w, i) => {
    const bound = (each + (half ? F16_ULP : 0)) * Math.abs(w) + floor;
    const error = Math.abs(got[i]! - w);
    if (error <= bound || Object.is(got[i], w)) return;
    const excess = error / Math.max(bound, Number.MIN_VALUE);
    const text = `element ${i} of [${want.shape}] ${y.dtype}: got ${got[i]}, want ${w} within ${bound} (${from})`;
    if (!(excess <= worst.excess)) worst = { excess, text };
  });
  expect(worst.text).toBe('');
}

const read = (input: Input) => ('shape' in input ? input : { shape: input }) as Exclude<Input, Shape>;

/** Values of each input, as they are after rounding to how they are stored. */
function values(inputs: readonly Input[], dtype: DType, fill: Fill | undefined) {
  return inputs.map((input, k) => {
    const { shape, dtype: fixed, fill: own } = read(input);
    const type = fixed ?? dtype;
    return { type, fixed: fixed !== undefined, value: casts[type](randomNd(shape, k + 1, own ?? fill)) };
  });
}

async function checkForward(spec: Spec, inputs: readonly Input[], dtype: DType, layout: Layout): Promise<void> {
  const made = values(inputs, dtype, spec.fill).map(({ type, value }) => layout(value, type));
  await run(made.map((m) => m.x)); // so that nothing about how they are made is fused into the op
  const y = spec.op(...made.map((m) => m.x));
  expect(y.dtype).toBe(spec.result ?? dtype);
  await expectClose(y, spec.reference(...made.map((m) => m.value)), spec.tolerance);
  for (const { x } of made) x.dispose();
  y.dispose();
}

/** d sum(op(x) r) / d x, for every float input, against central differences. */
export async function checkGradient(
  { op, reference, fill }: Pick<Spec, 'op' | 'reference' | 'fill'>,
  inputs: readonly Input[],
): Promise<void> {
  const made = values(inputs, 'f32', fill);
  const x = made.map(({ type, value }) => upload(value, type));
  const wanted = x.filter((_, i) => !made[i]!.fixed);
  const y = op(...x);
  const r = casts.f32(randomNd(y.shape, 99));
  const gradients = grad(y.mul(upload(r)).sum(), wanted);
  const loss = () => map((a, b) => a! * b!)(reference(...made.map((m) => m.value)), r).data.reduce((a, b) => a + b, 0);
  for (const [k, { value }] of made.filter((m) => !m.fixed).entries()) {
    const slopes = value.data.map((v, i) => {
      const ends = [v + STEP, v - STEP].map((moved) => {
        value.data[i] = moved;
        return loss();
      });
      value.data[i] = v;
      return (ends[0]! - ends[1]!) / (2 * STEP);
    });
    const tolerance = { all: GRADIENT, least: 1e-6, from: 'central differences' }; // some gradients are zero
    await expectClose(gradients[k]!, { shape: value.shape, data: slopes }, tolerance);
  }
}

/** The tests of one op; see `Spec`. */
export function testOp(name: string, spec: Spec): void {
  const { inputs, dtypes = ['f32', 'f16'], layouts = Object.keys(LAYOUTS) as (keyof typeof LAYOUTS)[] } = spec;
  describe(name, () => {
    for (const dtype of dtypes) {
      it.each(layouts)(`${dtype} %s`, async (kind) => {
        const check = (list: readonly Input[]) => checkForward(spec, list, dtype, LAYOUTS[kind]);
        if (inputs instanceof fc.Arbitrary) {
          await fc.assert(fc.asyncProperty(inputs, check), { seed: 1, numRuns: 8 });
        } else for (const list of inputs) await check(list);
      });
    }
    if (spec.grad) it('gradient', () => checkGradient(spec, spec.grad!));
  });
}
