// What ops are tested on: pseudo-random values, the same in every run and runtime; the ways in which they may lie in memory;
// and how near to float64 a result must come.
import { type Tensor, tensor } from '../src/index.ts';
import type { Plain } from '../src/tensor/dtype.ts';
import { at, casts, expand, type Nd, nd, permute, type Shape } from './reference.ts';

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
const FILLS: Record<Plain, Fill> = {
  f32: nonzero,
  f16: nonzero,
  i32: (u) => (u < 0.5 ? -40 + below(80)(u) : 1 + below(80)(u - 0.5)),
  u32: (u) => 1 + below(80)(u),
  bool: below(2),
};

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

/** Values of a type: rounded as they are when they are stored. */
export function randomNd(shape: Shape, seed: number, dtype: Plain = 'f32', fill: Fill = FILLS[dtype]): Nd {
  const next = random(seed);
  return casts[dtype](nd(shape, () => fill(next())));
}

export const upload = (x: Nd, dtype: Plain = 'f32'): Tensor =>
  dtype === 'f32' || dtype === 'f16'
    ? tensor(Float32Array.from(x.data), x.shape).to(dtype)
    : tensor([...x.data], x.shape, { dtype });

/** An input of this shape, or one with a type or values of its own. */
export type Input = Shape | { shape: Shape; dtype?: Plain; fill?: Fill };
export const readInput = (input: Input) => ('shape' in input ? input : { shape: input }) as Exclude<Input, Shape>;

/** A tensor and its values, stored in some way. What lies around a view's elements must never count, not even times 0. */
type Stored = { value: Nd; x: Tensor };
const plain = (value: Nd, dtype: Plain): Stored => ({ value, x: upload(value, dtype) });
export const LAYOUTS = {
  plain,
  permuted(value: Nd, dtype: Plain): Stored {
    const order = value.shape.map((_, d) => d).reverse();
    return { value, x: upload(permute(value, order), dtype).permute(order) };
  },
  /** Every second of the first dimension, and the last from an odd place on. */
  sliced(value: Nd, dtype: Plain): Stored {
    const [first = 1, ...rest] = value.shape;
    const last = rest.at(-1);
    if (last === undefined) return plain(value, dtype);
    const around = dtype === 'f32' || dtype === 'f16' ? Number.NaN : 1; // an index must be in range
    const wide = nd([2 * first, ...rest.slice(0, -1), last + 3], (i) => {
      const inside = i[0]! % 2 === 0 && i.at(-1)! >= 1 && i.at(-1)! <= last;
      return inside ? at(value, [i[0]! / 2, ...i.slice(1, -1), i.at(-1)! - 1]) : around;
    });
    const x = upload(wide, dtype)
      .slice(0, 0, 2 * first, 2)
      .slice(-1, 1, 1 + last);
    return { value, x };
  },
  /** One row, shown again and again. */
  expanded(value: Nd, dtype: Plain): Stored {
    if (!(value.shape[0]! > 1)) return plain(value, dtype);
    const row = nd([1, ...value.shape.slice(1)], (i) => at(value, i));
    return { value: expand(row, value.shape), x: upload(row, dtype).expand(value.shape) };
  },
};
export type Layout = keyof typeof LAYOUTS;

/**
 * |got - want| <= each |want| + all max |want| + abs. `from`: where these numbers come from. `halves`: how many values on
 * the way are rounded to f16 where the result is f16.
 */
export type Tolerance = { each?: number; all?: number; abs?: number; halves?: number; from: string };
export const EXACT: Tolerance = { from: 'no rounding' };
export const ROUNDED: Tolerance = { each: 2 ** -24, from: 'one correct rounding to f32' };
const F16_ULP = 2 ** -10; // WGSL, conversion to f16: one of the two neighbours
const F16_TINY = 2 ** -24; // the smallest subnormal

export const largest = (x: Nd): number => x.data.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

/** How far a result of this type may be from each wanted value. */
export function boundOf(want: Nd, dtype: Plain, { each = 0, all = 0, abs = 0, halves = 0 }: Tolerance): Fill {
  const isHalf = dtype === 'f16';
  const scale = largest(want);
  const floor = all * scale + abs + (isHalf ? F16_TINY + halves * F16_ULP * scale : 0);
  return (w) => (each + (isHalf ? F16_ULP : 0)) * Math.abs(w) + floor;
}
