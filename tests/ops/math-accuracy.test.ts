// The functions of shaders/lib/math.wgsl against float64: the error in ulp over all exponents, symmetry, special values.
import { describe, expect, it } from 'vitest';
import { tensor } from '../../src/index.ts';
import { MATH } from '../elementwise.ts';
import { random } from './harness.ts';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const NORMAL = 2 ** -126; // the smallest normal f32: adapters may flush what lies below
const SUBNORMAL = 2 ** -149; // the smallest f32
const HUGE = 3.4028234663852886e38; // the largest f32

type Case = {
  /** The bound, whether fma rounds once or twice. */
  ulp: number;
  /** Where the bound holds; everywhere by default. */
  domain?: readonly [number, number];
  /** Inputs are also spread evenly from -span to span. */
  span: number;
  symmetry?: 'odd' | 'even';
  /** x and the exact f(x). */
  special: readonly (readonly [x: number, y: number])[];
};

const odd = (limit: number): Case['special'] => [
  ...[0, -0, SUBNORMAL, -1e-40, nan].map((x) => [x, x] as const),
  ...[inf, HUGE, 1e7].map((x) => [x, limit] as const),
];

const cases: Record<string, Case> = {
  exp: {
    ulp: 2,
    span: 89,
    special: [
      ...[0, -0, SUBNORMAL, -1e-40, 1e-9].map((x) => [x, 1] as const),
      ...[inf, HUGE, 1e4, 88.72284].map((x) => [x, inf] as const),
      ...[-inf, -HUGE, -3.4e38, -1e4, -104, -87.33655].map((x) => [x, 0] as const), // masks are large finite numbers
      [nan, nan],
    ],
  },
  log: {
    ulp: 2,
    domain: [0, inf],
    span: 4,
    special: [
      ...[0, -0].map((x) => [x, -inf] as const),
      ...[-SUBNORMAL, -1e-40, -1, -HUGE, -inf, nan].map((x) => [x, nan] as const),
      ...[SUBNORMAL, 2 ** -127, HUGE].map((x) => [x, Math.log(x)] as const),
      [1, 0],
      [inf, inf],
    ],
  },
  sin: {
    ulp: 4,
    domain: [-(2 ** 17), 2 ** 17],
    span: 2 ** 17,
    symmetry: 'odd',
    special: odd(nan),
  },
  cos: {
    ulp: 4,
    domain: [-(2 ** 17), 2 ** 17],
    span: 2 ** 17,
    symmetry: 'even',
    special: [
      ...[0, -0, SUBNORMAL, -1e-40, 1e-9].map((x) => [x, 1] as const),
      ...[inf, -inf, HUGE, nan].map((x) => [x, nan] as const),
    ],
  },
  tanh: { ulp: 4, span: 10, symmetry: 'odd', special: odd(1) },
  erf: { ulp: 3, span: 4, symmetry: 'odd', special: odd(1) },
  sigmoid: {
    ulp: 4,
    span: 90,
    special: [
      ...[0, -0, SUBNORMAL].map((x) => [x, 0.5] as const),
      ...[inf, HUGE, 30].map((x) => [x, 1] as const),
      ...[-inf, -HUGE, -3.4e38, -104, -87.33655].map((x) => [x, 0] as const),
      [nan, nan],
    ],
  },
};

const EACH = 300; // mantissas of each exponent
const EVEN = 24_500; // inputs in (0, span)

/** Positive finite floats: EACH of every exponent and EVEN of (0, span); then the same numbers negative. */
function inputs(span: number, seed: number): Float32Array {
  const next = random(seed);
  const x = new Float32Array(2 * (255 * EACH + EVEN));
  const bits = new Uint32Array(x.buffer);
  for (let exponent = 0, i = 0; exponent < 255; exponent++) {
    for (let k = 0; k < EACH; k++) bits[i++] = exponent * 2 ** 23 + Math.floor(next() * 2 ** 23);
  }
  for (let i = 255 * EACH; i < x.length / 2; i++) x[i] = span * next();
  for (let i = 0; i < x.length / 2; i++) x[x.length / 2 + i] = -x[i]!;
  return x;
}

/** |got - want| in units of the last place of want; 0 where a subnormal number was flushed or passed through. */
function error(got: number, want: number): number {
  if (Number.isNaN(got)) return inf;
  if (got === Math.fround(want) || (Math.abs(want) < 2 * NORMAL && Math.abs(got - want) < NORMAL)) return 0;
  const exponent = Math.floor(Math.log2(Math.max(NORMAL, Math.abs(want))));
  return Math.abs(got - want) / 2 ** (exponent - 23);
}

describe.each(Object.entries(cases))('%s', (name, c) => {
  const [op, reference] = MATH[name]!;
  const { ulp, domain = [-inf, inf], span, symmetry, special } = c;
  const x = inputs(span, 1);

  it(`is within ${ulp} ulp`, async () => {
    const y = await op(tensor(x)).data();
    let worst = { error: 0, text: '' };
    for (const [i, v] of x.entries()) {
      if (v < domain[0] || v > domain[1]) continue;
      const want = reference(v);
      const e = error(y[i]!, want);
      if (e > worst.error) worst = { error: e, text: `${name}(${v}) is ${y[i]}, want ${want}` };
    }
    expect(worst.error, worst.text).toBeLessThanOrEqual(ulp);
    expect(worst.error, 'no error at all: was this compared with itself?').toBeGreaterThan(0.5);
  });

  it('has the special values', async () => {
    const y = await op(tensor(Float32Array.from(special, ([v]) => v))).data();
    expect([...y]).toEqual(special.map(([, want]) => Math.fround(want)));
  });

  if (!symmetry) return;
  it(`is ${symmetry}, bit by bit`, async () => {
    const y = await op(tensor(x)).data();
    const half = x.length / 2;
    const sign = symmetry === 'odd' ? -1 : 1;
    const broken = [...x.subarray(0, half)].filter((_, i) => !Object.is(y[half + i], sign * y[i]!));
    expect(broken).toEqual([]);
  });
});
