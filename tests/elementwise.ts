// Elementwise ops: the function in float64, how near f32 comes to it, and on which values. tests/ops and tests/conformance run them.
import type { Tensor } from '../src/index.ts';
import * as ref from './reference.ts';
import { EXACT, type Fill, positive, ROUNDED, type Tolerance, within } from './samples.ts';

const DIVIDED = { each: 2.5 * 2 ** -23, from: 'WGSL: x / y within 2.5 ulp' };
const ROOT = { each: 5 * 2 ** -23, from: 'WGSL: sqrt inherits from 1 / inverseSqrt (2 ulp) and the division' };
const ulp = (n: number) => ({ each: n * 2 ** -23, from: `${n} ulp: shaders/lib/math.wgsl states its own errors` });
const SUM = { each: 2 ** -22, abs: 6 * 2 ** -23, from: 'x / 2 (1 + erf), |x| <= 6: 1 + erf cancels, 2 ulp of 1' };
const TURNS = { abs: 2 ** -22, from: 'sin and cos near their zeros: 2 ulp of 1' };

export type Unary = [op: (x: Tensor) => Tensor, f: (x: number) => number, tolerance: Tolerance, fill?: Fill];
export const ARITHMETIC: Record<string, Unary> = {
  neg: [(x) => x.neg(), (x) => -x, EXACT],
  abs: [(x) => x.abs(), Math.abs, EXACT],
  sign: [(x) => x.sign(), Math.sign, EXACT],
  floor: [(x) => x.floor(), Math.floor, EXACT],
  square: [(x) => x.square(), (x) => x * x, ROUNDED],
  relu: [(x) => x.relu(), (x) => Math.max(x, 0), EXACT],
  reciprocal: [(x) => x.reciprocal(), (x) => 1 / x, DIVIDED],
  sqrt: [(x) => x.sqrt(), Math.sqrt, ROOT, positive],
  rsqrt: [(x) => x.rsqrt(), (x) => 1 / Math.sqrt(x), ROOT, positive],
};
export const MATH: Record<string, Unary> = {
  exp: [(x) => x.exp(), Math.exp, ulp(2)],
  log: [(x) => x.log(), Math.log, ulp(2), positive],
  sin: [(x) => x.sin(), Math.sin, TURNS, within(1000)],
  cos: [(x) => x.cos(), Math.cos, TURNS, within(1000)],
  tanh: [(x) => x.tanh(), Math.tanh, ulp(3), within(8)],
  erf: [(x) => x.erf(), ref.erf, ulp(2), within(3)],
  sigmoid: [(x) => x.sigmoid(), ref.sigmoid, ulp(3), within(40)],
  silu: [(x) => x.silu(), (x) => x * ref.sigmoid(x), ulp(4), within(20)],
  quick_gelu: [(x) => x.quick_gelu(), (x) => x * ref.sigmoid(1.702 * x), ulp(8)],
  gelu: [(x) => x.gelu(), ref.gelu, SUM, within(6)],
  'gelu tanh': [(x) => x.gelu('tanh'), ref.geluTanh, SUM, within(6)],
};

export type Binary = [op: (a: Tensor, b: Tensor) => Tensor, f: (a: number, b: number) => number, tolerance: Tolerance];
/** What integers do too; they are exact. */
export const BINARY: Record<string, Binary> = {
  add: [(a, b) => a.add(b), (a, b) => a + b, ROUNDED],
  mul: [(a, b) => a.mul(b), (a, b) => a * b, ROUNDED],
  maximum: [(a, b) => a.maximum(b), Math.max, EXACT],
  minimum: [(a, b) => a.minimum(b), Math.min, EXACT],
  sub: [(a, b) => a.sub(b), (a, b) => a - b, ROUNDED],
};
export const DIV: Binary = [(a, b) => a.div(b), (a, b) => a / b, DIVIDED];
/** Of a base from 1 on, whose own rounding the exponent multiplies. */
export const POW: Binary = [
  (a, b) => a.to('f32').square().add(1).pow(b).to(a.dtype),
  (a, b) => (a * a + 1) ** b,
  ulp(6),
];

type Comparison = [op: (a: Tensor, b: Tensor) => Tensor, f: (a: number, b: number) => boolean];
export const COMPARE: Record<string, Comparison> = {
  eq: [(a, b) => a.eq(b), (a, b) => a === b],
  ne: [(a, b) => a.ne(b), (a, b) => a !== b],
  lt: [(a, b) => a.lt(b), (a, b) => a < b],
  le: [(a, b) => a.le(b), (a, b) => a <= b],
  gt: [(a, b) => a.gt(b), (a, b) => a > b],
  ge: [(a, b) => a.ge(b), (a, b) => a >= b],
};

/** Of a boolean tensor and others. */
export const CHOICES = {
  where: { op: (c: Tensor, a: Tensor, b: Tensor) => c.where(a, b), want: ref.where },
  masked_fill: {
    op: (x: Tensor, mask: Tensor) => x.masked_fill(mask, -7),
    want: ref.map((x, mask) => (mask ? -7 : x)),
  },
};
