import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Graph, trace } from '../../src/exec/graph.ts';
import { assign } from '../../src/exec/memory.ts';
import { makePlan } from '../../src/exec/plan.ts';
import { concat, defaultDevice, run, Tensor } from '../../src/index.ts';
import { expectClose, randomNd, upload } from '../ops/harness.ts';
import * as ref from '../reference.ts';

const SIZE = 6;
type Step = { of: keyof typeof OPS; a: number; b: number };
type Rule = { engine: (a: Tensor, b: Tensor) => Tensor; reference: (a: ref.Nd, b: ref.Nd) => ref.Nd };
const transposed = (x: ref.Nd) => ref.permute(x, [1, 0]);
const tanh = ref.map((x) => Math.tanh(x!));
/** Ops on [SIZE, SIZE] whose values stay small: kernels, fused chains, views and epilogues. */
const OPS = {
  add: { engine: (a, b) => a.add(b).mul(0.5), reference: ref.map((a, b) => (a! + b!) / 2) },
  mul: { engine: (a, b) => a.tanh().mul(b), reference: ref.map((a, b) => Math.tanh(a!) * b!) },
  maximum: { engine: (a, b) => a.gt(b).where(a, b), reference: ref.map((a, b) => Math.max(a!, b!)) },
  transpose: { engine: (a) => a.transpose(0, 1), reference: transposed },
  rows: {
    engine: (a, b) => a.slice(0, 1, 2).add(b.slice(1, 2, 3)),
    reference: (a, b) => ref.map((p, q) => p! + q!)(ref.slice(a, 0, 1, 2), ref.slice(b, 1, 2, 3)),
  },
  sum: {
    engine: (a, b) => a.mean(-1, true).add(b),
    reference: (a, b) => ref.map((p, q) => p! + q!)(ref.mean(a, [1], true), b),
  },
  softmax: { engine: (a) => a.softmax(-1), reference: (a) => ref.softmax(a) },
  matmul: {
    engine: (a, b) =>
      a
        .tanh()
        .matmul(b)
        .mul(1 / SIZE),
    reference: (a, b) => ref.map((v) => v! / SIZE)(ref.matmul(tanh(a), b)),
  },
  concat: {
    engine: (a, b) => concat([a.slice(0, 0, 2), b.slice(0, 2)]),
    reference: (a, b) => ref.concat([ref.slice(a, 0, 0, 2), ref.slice(b, 0, 2, SIZE)], 0),
  },
  reshape: {
    engine: (a, b) =>
      a
        .reshape([SIZE * SIZE])
        .add(1)
        .reshape([SIZE, SIZE])
        .sub(b),
    reference: ref.map((a, b) => a! + 1 - b!),
  },
} satisfies Record<string, Rule>;

const programs = fc.record({
  steps: fc.array(
    fc.record({ of: fc.constantFrom(...(Object.keys(OPS) as (keyof typeof OPS)[])), a: fc.nat(), b: fc.nat() }),
    { minLength: 1, maxLength: 20 },
  ),
  wanted: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
});

describe('random programs', () => {
  it('give the values of the reference', async () => {
    const check = async ({ steps, wanted }: { steps: Step[]; wanted: number[] }) => {
      const references = [1, 2].map((seed) => randomNd([SIZE, SIZE], seed));
      const tensors = references.map((x) => upload(x));
      for (const { of, a, b } of steps) {
        const { engine, reference }: Rule = OPS[of];
        tensors.push(engine(tensors[a % tensors.length]!, tensors[b % tensors.length]!));
        references.push(reference(references[a % references.length]!, references[b % references.length]!));
      }
      const outputs = [tensors.length - 1, ...wanted.map((k) => k % tensors.length)];
      await run(outputs.map((k) => tensors[k]!));
      const tolerance = { all: 1e-5, from: '20 ops of a few ulp each' };
      for (const k of outputs) await expectClose(tensors[k]!, references[k]!, tolerance);
      for (const t of tensors) t.dispose();
    };
    await fc.assert(fc.asyncProperty(programs, check), { seed: 3, numRuns: 12 });
  });
});

describe('slots', () => {
  const graphOf = (leaves: Tensor[], outputs: Tensor[]): Graph => ({ ...trace([]), leaves, outputs });
  const fresh = (n: number) => new Tensor({ shape: [n], dtype: 'f32' });

  it('never hold two live tensors, and are large enough', () => {
    const plans = fc.array(
      fc.record({ size: fc.integer({ min: 1, max: 500 }), reads: fc.array(fc.nat(), { maxLength: 3 }) }),
      {
        minLength: 1,
        maxLength: 40,
      },
    );
    fc.assert(
      fc.property(plans, (list) => {
        const made = [fresh(8)];
        const steps = list.map(({ size, reads }) => {
          const step = { reads: reads.map((k) => made[k % made.length]!), writes: fresh(size) };
          made.push(step.writes);
          return step;
        });
        const { place, slots } = assign(graphOf([made[0]!], [made.at(-1)!]), steps);
        const lastRead = (t: Tensor) => steps.findLastIndex((s) => s.reads.includes(t) || s.writes === t);
        steps.forEach(({ writes }, i) => {
          const { of, index } = place(writes);
          if (of !== 'slot') return;
          expect(slots[index]).toBeGreaterThanOrEqual(writes.nbytes);
          for (const { writes: other } of steps.slice(0, i)) {
            const same = place(other).of === 'slot' && place(other).index === index;
            if (same) expect(lastRead(other)).toBeLessThan(i);
          }
        });
      }),
      { seed: 1, numRuns: 200 },
    );
  });

  it('are few in a long chain', async () => {
    let x = upload(randomNd([6, 12], 1));
    for (let k = 0; k < 20; k++) x = x.softmax(-1);
    const plan = await makePlan(trace([x]), await defaultDevice());
    expect(plan.steps.length).toBe(20);
    expect(plan.slots.length).toBe(2);
  });

  it('of different sizes grow instead of adding up', async () => {
    const x = upload(randomNd([8, 64], 1));
    const small = x.slice(0, 0, 1).softmax(-1).softmax(-1).softmax(-1);
    const large = small.expand([8, 64]).softmax(-1).softmax(-1).softmax(-1);
    const plan = await makePlan(trace([large]), await defaultDevice());
    expect(plan.slots.reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(2 * large.nbytes + small.nbytes);
  });
});
