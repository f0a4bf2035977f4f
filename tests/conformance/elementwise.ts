// Elementwise ops in the conformance table.
import type { Tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import {
  below,
  type Case,
  EXACT,
  type Fill,
  type Input,
  nonzero,
  positive,
  ROUNDED,
  type Spec,
  shapes,
  table,
  within,
} from './case.ts';

const DIVIDED = { each: 2.5 * 2 ** -23, from: 'WGSL: x / y within 2.5 ulp' };
const ROOT = { each: 5 * 2 ** -23, from: 'WGSL: sqrt inherits from 1 / inverseSqrt (2 ulp) and the division' };
const ulp = (n: number) => ({ each: n * 2 ** -23, from: `${n} ulp: shaders/lib/math.wgsl states its own errors` });
const SUM = { each: 2 ** -22, abs: 6 * 2 ** -23, from: 'x / 2 (1 + erf), |x| <= 6: 1 + erf cancels, 2 ulp of 1' };
const TURNS = { abs: 2 ** -22, from: 'sin and cos near their zeros: 2 ulp of 1' };

const ONE: Input[][] = shapes('5x13', '2x3', '37x67'); // odd, small, past a workgroup's 1024 elements
const TWO: Input[][] = shapes('5x13 5x13', '2x3 2x3', '5x1x7 3x1', '37x67 37x67');

type Unary = [op: (x: Tensor) => Tensor, want: (x: number) => number, tolerance: Spec['tolerance'], fill?: Fill];
const unary = ([op, want, tolerance, fill]: Unary): Spec => ({
  op,
  want: ref.map(want as (...x: number[]) => number),
  tolerance,
  fill: fill ?? nonzero,
  inputs: ONE,
  layouts: ['plain', 'strided', 'repeated'],
});
const each = <T>(ops: Record<string, T>, make: (op: T) => Spec): Record<string, Spec> =>
  Object.fromEntries(Object.entries(ops).map(([name, op]) => [name, make(op)]));

const ARITHMETIC: Record<string, Unary> = {
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
const MATH: Record<string, Unary> = {
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
const powers: Fill = (u) => 10 ** (30 * (2 * u - 1));
/** Beyond what half-precision numbers hold. */
const WIDE: Record<string, Unary> = {
  'exp wide': [(x) => x.exp(), Math.exp, ulp(2), within(80)],
  'log wide': [(x) => x.log(), Math.log, ulp(2), powers],
  'sqrt wide': [(x) => x.sqrt(), Math.sqrt, ROOT, powers],
  'rsqrt wide': [(x) => x.rsqrt(), (x) => 1 / Math.sqrt(x), ROOT, powers],
  'reciprocal wide': [(x) => x.reciprocal(), (x) => 1 / x, DIVIDED, powers],
};

type Binary = [
  op: (a: Tensor, b: Tensor) => Tensor,
  want: (a: number, b: number) => number,
  tolerance: Spec['tolerance'],
];
const binary = ([op, want, tolerance]: Binary): Spec => ({
  op,
  want: ref.map(want as (...x: number[]) => number),
  tolerance,
  inputs: TWO,
});
const BINARY: Record<string, Binary> = {
  add: [(a, b) => a.add(b), (a, b) => a + b, ROUNDED],
  mul: [(a, b) => a.mul(b), (a, b) => a * b, ROUNDED],
  maximum: [(a, b) => a.maximum(b), Math.max, EXACT],
  minimum: [(a, b) => a.minimum(b), Math.min, EXACT],
};

const COMPARE: Record<string, (a: number, b: number) => boolean> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
};
const few = (...shape: number[]): Input => ({ shape, fill: (u) => 1 + below(3)(u) });
const comparison = (name: string, f: (a: number, b: number) => boolean): Spec => ({
  op: (a, b) => a[name as 'eq'](b),
  want: ref.map((a, b) => Number(f(a!, b!))),
  tolerance: EXACT,
  inputs: [[few(7, 13), few(13)]],
  dtypes: ['f32', 'i32', 'u32'],
  layouts: ['plain', 'strided'],
});

const choice: Input = { shape: [5, 13], dtype: 'bool' };
const CHOICES: Record<string, Spec> = {
  where: {
    op: (c, a, b) => c.where(a, b),
    want: ref.where,
    tolerance: EXACT,
    inputs: [[choice, [5, 13], [13]]],
    dtypes: ['f32', 'f16', 'i32', 'bool'],
  },
  masked_fill: {
    op: (x, mask) => x.masked_fill(mask, -7),
    want: ref.map((x, mask) => (mask ? -7 : x!)),
    tolerance: EXACT,
    inputs: [[[5, 13], choice]],
    layouts: ['plain'],
  },
};

const CASTS: Record<string, Spec> = {
  'to f16': { op: (x) => x.to('f16'), want: ref.casts.f16, tolerance: EXACT, inputs: ONE, dtypes: ['f32', 'i32'] },
  'to f32': {
    op: (x) => x.to('f32'),
    want: ref.casts.f32,
    tolerance: EXACT,
    inputs: ONE,
    dtypes: ['f16', 'i32', 'u32', 'bool'],
  },
  'to i32': { op: (x) => x.mul(8).to('i32'), want: ref.map((x) => Math.trunc(8 * x!)), tolerance: EXACT, inputs: ONE },
  'to u32': {
    op: (x) => x.abs().to('u32'),
    want: ref.map((x) => Math.trunc(Math.abs(x!))),
    tolerance: EXACT,
    inputs: ONE,
  },
  'to bool': {
    op: (x) => x.floor().to('bool'),
    want: ref.map((x) => Number(Math.floor(x!) !== 0)),
    tolerance: EXACT,
    inputs: ONE,
  },
};

export const elementwise = (isFull: boolean): Case[] => [
  ...table('arithmetic', isFull, each(ARITHMETIC, unary), 1),
  ...table('arithmetic', isFull, {
    ...each(BINARY, (op) => ({ ...binary(op), dtypes: ['f32', 'f16', 'i32', 'u32'] })),
    sub: { ...binary([(a, b) => a.sub(b), (a, b) => a - b, ROUNDED]), dtypes: ['f32', 'f16', 'i32'] },
    div: binary([(a, b) => a.div(b), (a, b) => a / b, DIVIDED]),
  }),
  ...table('exp, sin, gelu, ...', isFull, each(MATH, unary), 1),
  ...table(
    'exp, sin, gelu, ...',
    isFull,
    each(WIDE, (op) => ({ ...unary(op), inputs: shapes('37x67'), dtypes: ['f32'], layouts: ['plain'] })),
  ),
  ...table(
    'compare, choose',
    isFull,
    Object.fromEntries(Object.entries(COMPARE).map(([name, f]) => [name, comparison(name, f)])),
    1,
  ),
  ...table('compare, choose', isFull, CHOICES),
  ...table('cast', isFull, CASTS, 2),
];
