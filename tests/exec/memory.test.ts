import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Graph, trace } from '../../src/exec/graph.ts';
import { assignSlots, growth } from '../../src/exec/memory.ts';
import { makePlan } from '../../src/exec/plan.ts';
import { defaultDevice, run, Tensor } from '../../src/index.ts';
import { checkGradient, expectClose, randomNd, upload } from '../ops/harness.ts';
import { compute, computeReference, type Program, programs, SIZE } from './programs.ts';

describe('random programs', () => {
  it('give the values of the reference', async () => {
    const check = async (program: Program, wanted: number[]) => {
      const inputs = [1, 2].map((seed) => randomNd([SIZE, SIZE], seed));
      const references = computeReference(program, inputs);
      const tensors = compute(
        program,
        inputs.map((x) => upload(x)),
      );
      const outputs = [tensors.length - 1, ...wanted.map((k) => k % tensors.length)];
      await run(outputs.map((k) => tensors[k]!));
      const tolerance = { all: 1e-5, from: '20 ops of a few ulp each' };
      for (const k of outputs) await expectClose(tensors[k]!, references[k]!, tolerance);
      for (const t of tensors) t.dispose();
    };
    const wanted = fc.array(fc.nat(99), { maxLength: 3 });
    await fc.assert(fc.asyncProperty(programs(20), wanted, check), { seed: 3, numRuns: 12 });
  });

  it('have the gradients of the reference', async () => {
    const check = (program: Program) =>
      checkGradient(
        {
          op: (...x) => compute(program, x).at(-1)!,
          reference: (...x) => computeReference(program, x).at(-1)!,
        },
        [
          [SIZE, SIZE],
          [SIZE, SIZE],
        ],
      );
    await fc.assert(fc.asyncProperty(programs(10), check), { seed: 4, numRuns: 8 });
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
        const accesses = steps.map(({ reads, writes }) => ({ reads, writes: [writes] }));
        const { place, slots } = assignSlots(graphOf([made[0]!], [made.at(-1)!]), accesses);
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

describe('slots that serve another plan', () => {
  it.each([
    [[], [5, 3], [5, 3], 0],
    [[5, 3, 1], [8, 4, 2, 1], [8], 0],
    [[4, 4, 1], [9, 9, 3], [9, 9], 2],
    [[10], [11], [11], 1],
    [[5, 4], [3, 3, 3], [3], 0],
    [[5, 4], [5], [], 0],
  ])('%j for %j: %j are made and %j go', (slots, wanted, made, spare) => {
    expect(growth(slots, wanted)).toEqual({ made, spare });
  });
  it('are enough for both, in any case', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 6 }).map((list) => list.sort((a, b) => b - a));
    const check = (slots: number[], wanted: number[]) => {
      const { made, spare } = growth(slots, wanted);
      const all = [...slots.slice(0, slots.length - spare), ...made].sort((a, b) => b - a);
      expect(all).toHaveLength(Math.max(slots.length, wanted.length));
      for (const list of [slots, wanted])
        for (const [i, bytes] of list.entries()) expect(all[i]).toBeGreaterThanOrEqual(bytes);
    };
    fc.assert(fc.property(sizes, sizes, check), { seed: 5, numRuns: 500 });
  });
});
