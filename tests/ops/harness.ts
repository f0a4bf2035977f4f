// An op against its float64 reference: in every storage type, from every kind of view, and its gradient against central
// differences of the reference. Values are pseudo-random and the same in every run.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grad, run, type Tensor } from '../../src/index.ts';
import { type Plain, plain } from '../../src/tensor/dtype.ts';
import { dot, type Nd, slopes } from '../reference.ts';
import {
  boundOf,
  type Fill,
  type Input,
  LAYOUTS,
  type Layout,
  randomNd,
  readInput,
  type Tolerance,
  upload,
} from '../samples.ts';

export { below, EXACT, type Input, ROUNDED, random, randomNd, upload } from '../samples.ts';

export type Spec = {
  op: (...x: Tensor[]) => Tensor;
  reference: (...x: Nd[]) => Nd;
  /** Sets of inputs to run on, or an arbitrary of them. */
  inputs: readonly (readonly Input[])[] | fc.Arbitrary<readonly Input[]>;
  tolerance: Tolerance;
  /** How float inputs are stored; both by default. */
  dtypes?: readonly Plain[];
  /** The type of the result; by default that of the inputs. */
  result?: Plain;
  fill?: Fill;
  layouts?: readonly Layout[];
  /** Inputs to check the gradient on. */
  grad?: readonly Input[];
};

const GRADIENT = 1e-4; // of the largest element: several f32 ops, each within a few ulp of values that may cancel

/** The values of a tensor against the reference; says where the worst one is. */
export async function expectClose(y: Tensor, want: Nd, tolerance: Tolerance): Promise<void> {
  expect(y.shape).toEqual(want.shape);
  const got = await y.data();
  const boundFor = boundOf(want, plain(y.dtype), tolerance);
  let worst = { excess: 0, text: '' };
  want.data.forEach((w, i) => {
    const bound = boundFor(w);
    const error = Math.abs(got[i]! - w);
    if (error <= bound || Object.is(got[i], w)) return;
    const excess = error / Math.max(bound, Number.MIN_VALUE);
    const text = `element ${i} of [${want.shape}] ${y.dtype}: got ${got[i]}, want ${w} within ${bound} (${tolerance.from})`;
    if (!(excess <= worst.excess)) worst = { excess, text };
  });
  expect(worst.text).toBe('');
}

/** Values of each input, as they are after rounding to how they are stored. */
function values(inputs: readonly Input[], dtype: Plain, fill: Fill | undefined) {
  return inputs.map((input, k) => {
    const { shape, dtype: fixed, fill: own } = readInput(input);
    const type = fixed ?? dtype;
    return { type, fixed: fixed !== undefined, value: randomNd(shape, k + 1, type, own ?? fill) };
  });
}

async function checkForward(spec: Spec, inputs: readonly Input[], dtype: Plain, layout: Layout): Promise<void> {
  const made = values(inputs, dtype, spec.fill).map(({ type, value }) => LAYOUTS[layout](value, type));
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
  const r = randomNd(y.shape, 99);
  const gradients = grad(y.mul(upload(r)).sum(), wanted);
  const loss = () => dot(reference(...made.map((m) => m.value)), r);
  for (const [k, { value }] of made.filter((m) => !m.fixed).entries()) {
    const tolerance = { all: GRADIENT, abs: 1e-6, from: 'central differences' }; // some gradients are zero
    await expectClose(gradients[k]!, slopes(value, loss), tolerance);
  }
}

/** The tests of one op; see `Spec`. */
export function testOp(name: string, spec: Spec): void {
  const { inputs, dtypes = ['f32', 'f16'], layouts = Object.keys(LAYOUTS) as Layout[] } = spec;
  describe(name, () => {
    for (const dtype of dtypes) {
      it.each(layouts)(`${dtype} %s`, async (kind) => {
        const check = (list: readonly Input[]) => checkForward(spec, list, dtype, kind);
        if (inputs instanceof fc.Arbitrary) {
          await fc.assert(fc.asyncProperty(inputs, check), { seed: 1, numRuns: 8 });
        } else for (const list of inputs) await check(list);
      });
    }
    if (spec.grad) it('gradient', () => checkGradient(spec, spec.grad!));
  });
}
