// Elementwise ops in the conformance table.
import { ARITHMETIC, BINARY, type Binary, CHOICES, COMPARE, DIV, MATH, POW, type Unary } from '../elementwise.ts';
import * as ref from '../reference.ts';
import { below, EXACT, type Fill, type Input, nonzero, within } from '../samples.ts';
import { type Case, type Spec, shapes, table } from './case.ts';

const ONE: Input[][] = shapes('5x13', '2x3', '37x67'); // odd, small, past a workgroup's 1024 elements
const TWO: Input[][] = shapes('5x13 5x13', '2x3 2x3', '5x1x7 3x1', '37x67 37x67');

const unary = ([op, f, tolerance, fill = nonzero]: Unary): Spec => ({
  op,
  want: ref.map(f),
  tolerance,
  fill,
  inputs: ONE,
  layouts: ['plain', 'sliced', 'expanded'],
});
const binary = ([op, f, tolerance]: Binary, ...dtypes: NonNullable<Spec['dtypes']>): Spec => ({
  op,
  want: ref.map(f),
  tolerance,
  inputs: TWO,
  dtypes: ['f32', 'f16', ...dtypes],
});
const each = <T>(ops: Record<string, T>, make: (op: T) => Spec): Record<string, Spec> =>
  Object.fromEntries(Object.entries(ops).map(([name, op]) => [name, make(op)]));

const powers: Fill = (u) => 10 ** (30 * (2 * u - 1));
/** Beyond what half-precision numbers hold. */
const wide = (name: string, fill: Fill): Record<string, Spec> => {
  const spec = unary({ ...ARITHMETIC, ...MATH }[name]!);
  return { [`${name} wide`]: { ...spec, fill, inputs: shapes('37x67'), dtypes: ['f32'], layouts: ['plain'] } };
};

const few = (...shape: number[]): Input => ({ shape, fill: (u) => 1 + below(3)(u) });

const choice: Input = { shape: [5, 13], dtype: 'bool' };
const { where, masked_fill } = CHOICES;
const CHOOSE: Record<string, Spec> = {
  where: {
    ...where,
    tolerance: EXACT,
    inputs: [[choice, [5, 13], [13]]],
    dtypes: ['f32', 'f16', 'i32', 'bool'],
  },
  masked_fill: { ...masked_fill, tolerance: EXACT, inputs: [[[5, 13], choice]], layouts: ['plain'] },
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
  'to i32': { op: (x) => x.mul(8).to('i32'), want: ref.map((x) => Math.trunc(8 * x)), tolerance: EXACT, inputs: ONE },
  'to u32': {
    op: (x) => x.abs().to('u32'),
    want: ref.map((x) => Math.trunc(Math.abs(x))),
    tolerance: EXACT,
    inputs: ONE,
  },
  'to bool': {
    op: (x) => x.floor().to('bool'),
    want: ref.map((x) => Number(Math.floor(x) !== 0)),
    tolerance: EXACT,
    inputs: ONE,
  },
};

const { sub, ...OF_INTEGERS } = BINARY;
export const elementwise = (isFull: boolean): Case[] => [
  ...table('arithmetic', isFull, each(ARITHMETIC, unary), 1),
  ...table('arithmetic', isFull, {
    ...each(OF_INTEGERS, (op) => binary(op, 'i32', 'u32')),
    sub: binary(sub!, 'i32'),
    div: binary(DIV),
    pow: binary(POW),
  }),
  ...table('exp, sin, gelu, ...', isFull, each(MATH, unary), 1),
  ...table('exp, sin, gelu, ...', isFull, {
    ...wide('exp', within(80)),
    ...wide('log', powers),
    ...wide('sqrt', powers),
    ...wide('rsqrt', powers),
    ...wide('reciprocal', powers),
  }),
  ...table(
    'compare, choose',
    isFull,
    each(COMPARE, ([op, f]) => ({
      op,
      want: ref.map((a: number, b: number) => Number(f(a, b))),
      tolerance: EXACT,
      inputs: [[few(7, 13), few(13)]],
      dtypes: ['f32', 'i32', 'u32'],
      layouts: ['plain', 'sliced'],
    })),
    1,
  ),
  ...table('compare, choose', isFull, CHOOSE),
  ...table('cast', isFull, CASTS, 2),
];
