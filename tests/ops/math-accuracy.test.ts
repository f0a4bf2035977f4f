// The functions of shaders/lib/math.wgsl against float64: the error in ulp over all exponents, symmetry, special values.
import { describe, expect, it } from 'vitest';
import { pow, tensor } from '../../src/index.ts';
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

describe('pow', () => {
  const bits = new DataView(new ArrayBuffer(4));
  const anyFloat = (next: () => number) => {
    bits.setUint32(0, next() * 2 ** 32);
    return bits.getFloat32(0);
  };
  /** Exponents that keep x^y within f32. */
  const exponent = (x: number, next: () => number) => (127 * (2 * next() - 1)) / Math.max(1e-3, Math.abs(Math.log2(x)));
  const PAIRS: Record<string, (next: () => number) => [number, number]> = {
    'of every exponent': (next) => {
      const x = 2 ** (254 * next() - 126);
      return [x, exponent(x, next)];
    },
    'near 1': (next) => {
      const x = Math.fround(1 + (2 * next() - 1) * 2 ** (-22 * next() - 1));
      return [x, exponent(x, next)];
    },
    'of usual size': (next) => [100 * next(), 10 * next() - 5],
    'of whole exponents': (next) => [20 * next() - 10, Math.floor(40 * next() - 20)],
    'of any bits': (next) => [anyFloat(next), anyFloat(next)],
  };
  it.each(Object.entries(PAIRS))('%s is within 2 ulp', async (_, pair) => {
    const next = random(1);
    const pairs = Array.from({ length: 50_000 }, () => pair(next).map(Math.fround) as [number, number]);
    const isNormal = (v: number) => !(Math.abs(v) < NORMAL);
    const kept = pairs.filter(([x, y]) => isNormal(x) && isNormal(y));
    const [x, y] = [0, 1].map((k) => tensor(Float32Array.from(kept, (p) => p[k]!)));
    const got = await pow(x!, y!).data();
    let worst = { error: 0, text: '' };
    for (const [i, [a, b]] of kept.entries()) {
      const want = a ** b;
      const e = Object.is(got[i], Math.fround(want)) ? 0 : error(got[i]!, want);
      if (e > worst.error) worst = { error: e, text: `${a}^${b} is ${got[i]}, want ${want}` };
    }
    expect(worst.error, worst.text).toBeLessThanOrEqual(2);
  });

  it('has the special values of C', async () => {
    const values = [0, 1, 2, 0.5, 3, 2.5, 8388607, 16777216, 1e30, inf].flatMap((v) => [v, -v]).map(Math.fround);
    const pairs = [...values, nan].flatMap((x) => [...values, nan].map((y) => [x, y] as const));
    // where ECMAScript has NaN: 1 to any power, -1 to an infinite one
    const want = pairs.map(([x, y]) => (x === 1 || (x === -1 && Math.abs(y) === inf) ? 1 : x ** y));
    const [x, y] = [0, 1].map((k) => tensor(Float32Array.from(pairs, (p) => p[k]!)));
    const got = await pow(x!, y!).data();
    const wrong = pairs.filter((_, i) => !Object.is(got[i], Math.fround(want[i]!)) && !(error(got[i]!, want[i]!) <= 2));
    expect(wrong).toEqual([]);
  });
});
