// One row of the conformance table: an op on random inputs, with its float64 reference and a tolerance that says why.
import { run, type Tensor, tensor } from '../../src/index.ts';
import type { DType } from '../../src/tensor/dtype.ts';
import { at, casts, expand, type Nd, nd, permute, type Shape } from '../reference.ts';

/**
 * |got - want| <= each |want| + all max |want| + abs. `from`: where these numbers come from. `halves`: how many values on
 * the way are rounded to f16 where the result is f16.
 */
export type Tolerance = { each?: number; all?: number; abs?: number; halves?: number; from: string };
export type Output = { name: string; got: Tensor; want: Nd; tolerance: Tolerance };
export type Case = { group: string; name: string; outputs(): Output[] | Promise<Output[]> };

export const EXACT: Tolerance = { from: 'no rounding' };
export const ROUNDED: Tolerance = { each: 2 ** -24, from: 'one correct rounding to f32' };

/** Turns a number in [0, 1) into an element. */
export type Fill = (u: number) => number;
/** +-[0.1, 2): zeros would hide what is multiplied by them. */
export const nonzero: Fill = (u) => (u < 0.5 ? -2 + 3.8 * u : 0.1 + 3.8 * (u - 0.5));
export const positive: Fill = (u) => 0.1 + 3 * u;
/** Up to `span` either way. */
export const within =
  (span: number): Fill =>
  (u) =>
    span * (2 * u - 1);
/** Integers below n: indices and booleans. */
export const below =
  (n: number): Fill =>
  (u) =>
    Math.floor(u * n);
const FILLS: Record<DType, Fill> = {
  f32: nonzero,
  f16: nonzero,
  i32: (u) => (u < 0.5 ? -40 + below(80)(u) : 1 + below(80)(u - 0.5)),
  u32: (u) => 1 + below(80)(u),
  bool: below(2),
};

/** Values of a type, from Marsaglia's xorshift32: the same in every runtime. */
export function randomNd(shape: Shape, seed: number, dtype: DType = 'f32', fill: Fill = FILLS[dtype]): Nd {
  let s = Math.imul(seed, 2654435761) | 1;
  const next = () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) / 2 ** 32;
  };
  return casts[dtype](nd(shape, () => fill(next())));
}

export const upload = (x: Nd, dtype: DType = 'f32'): Tensor =>
  dtype === 'f16' || dtype === 'f32'
    ? tensor(Float32Array.from(x.data), x.shape).to(dtype)
    : tensor([...x.data], x.shape, { dtype });

/** Ways in which the same values may lie in memory; `repeated` is one row shown again and again. */
const LAYOUTS = {
  plain: (value: Nd, dtype: DType) => ({ value, x: upload(value, dtype) }),
  permuted(value: Nd, dtype: DType) {
    const order = value.shape.map((_, d) => d).reverse();
    return { value, x: upload(permute(value, order), dtype).permute(order) };
  },
  /** Every second of the first dimension, the last from an odd place on; what lies around must not count. */
  strided(value: Nd, dtype: DType) {
    const [first = 1, ...rest] = value.shape;
    const last = rest.at(-1);
    if (last === undefined) return { value, x: upload(value, dtype) };
    const around = dtype === 'f32' || dtype === 'f16' ? Number.NaN : 1; // an index must be in range
    const wide = nd([2 * first, ...rest.slice(0, -1), last + 3], (i) => {
      const inside = i[0]! % 2 === 0 && i.at(-1)! >= 1 && i.at(-1)! <= last;
      return inside ? at(value, [i[0]! / 2, ...i.slice(1, -1), i.at(-1)! - 1]) : around;
    });
    return {
      value,
      x: upload(wide, dtype)
        .slice(0, 0, 2 * first, 2)
        .slice(-1, 1, 1 + last),
    };
  },
  repeated(value: Nd, dtype: DType) {
    const row = nd([1, ...value.shape.slice(1)], (i) => at(value, i));
    return { value: expand(row, value.shape), x: upload(row, dtype).expand(value.shape) };
  },
};
export type Layout = keyof typeof LAYOUTS;

/** A float input of this shape, or one of a fixed type. */
export type Input = Shape | { shape: Shape; dtype?: DType; fill?: Fill };
const read = (input: Input) => ('shape' in input ? input : { shape: input }) as Exclude<Input, Shape>;

/** One set of inputs by their shapes: '5x13 13x7'. */
export const sizes = (set: string): number[][] => set.split(' ').map((shape) => shape.split('x').map(Number));
export const shapes = (...sets: string[]): number[][][] => sets.map(sizes);

export type Spec = {
  op: (...x: Tensor[]) => Tensor;
  want: (...x: Nd[]) => Nd;
  tolerance: Tolerance;
  /** Sets of inputs. */
  inputs: readonly (readonly Input[])[];
  /** More of them, for the full table. */
  more?: readonly (readonly Input[])[];
  /** Types of the inputs that have none of their own. */
  dtypes?: readonly DType[];
  layouts?: readonly Layout[];
  fill?: Fill;
};

/**
 * The cases of some ops. Full: every type, shape and layout. Short: the first type in every shape, in order in memory;
 * then the first set of inputs in each other type and, of the first type, in the second layout, `extra` of these.
 */
export function table(
  group: string,
  isFull: boolean,
  ops: Record<string, Spec>,
  extra = Number.POSITIVE_INFINITY,
): Case[] {
  return Object.entries(ops).flatMap(([name, spec]) => {
    const { inputs, more = [], dtypes = ['f32', 'f16'], layouts = ['plain', 'strided', 'permuted', 'repeated'] } = spec;
    const [dtype, ...others] = dtypes;
    const [layout, second] = layouts;
    const all = (list: readonly Input[]) =>
      dtypes.flatMap((dtype) => layouts.map((layout) => oneCase(group, name, spec, list, dtype, layout)));
    if (isFull) return [...inputs, ...more].flatMap(all);
    const variants = others.map((other) => oneCase(group, name, spec, inputs[0]!, other, layout!));
    if (second) variants.push(oneCase(group, name, spec, inputs[0]!, dtype!, second));
    const plain = inputs.map((list) => oneCase(group, name, spec, list, dtype!, layout!));
    return [...plain, ...variants.slice(0, extra)];
  });
}

function oneCase(group: string, op: string, spec: Spec, list: readonly Input[], dtype: DType, layout: Layout): Case {
  const shapes = list.map((input) => `[${read(input).shape.join()}]`).join('');
  const name = `${op} ${dtype} ${shapes}${layout === 'plain' ? '' : ` ${layout}`}`;
  const outputs = async () => {
    const made = list.map((input, k) => {
      const { shape, dtype: fixed, fill } = read(input);
      const type = fixed ?? dtype;
      const isFloat = type === 'f32' || type === 'f16';
      return LAYOUTS[layout](randomNd(shape, k + 1, type, fill ?? (isFloat ? spec.fill : undefined)), type);
    });
    await run(made.map((m) => m.x)); // so that nothing about how they are made is fused into the op
    const { tolerance } = spec;
    return [{ name, got: spec.op(...made.map((m) => m.x)), want: spec.want(...made.map((m) => m.value)), tolerance }];
  };
  return { group, name, outputs };
}
