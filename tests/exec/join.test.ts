// Small kernels in one dispatch: the bits that each has alone.
import { afterAll, describe, expect, it } from 'vitest';
import { concat, Device, defaultDevice, overwrite, run, setDevice, type Tensor, tensor } from '../../src/index.ts';
import { matmulOfHeads } from '../../src/ops/matmul.ts';
import { random } from '../ops/harness.ts';

const values = (seed: number, ...shape: number[]) => {
  const next = random(seed);
  return tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * next() - 1),
    shape,
  );
};
const bits = async (t: Tensor) => {
  const { buffer, byteOffset, length } = await t.data();
  return [...new Int32Array(buffer as ArrayBuffer, byteOffset, length)];
};

const own = await defaultDevice();
afterAll(() => void setDevice(own));
/** The kernels of this adapter, and those for GPUs, without subgroups. */
const DEVICES = {
  'as here': () => own,
  'for GPUs': () => {
    const other = new Device(own.gpu, { ...own.adapter, software: !own.adapter.software });
    Object.assign(other.capabilities, { subgroups: false, subgroupSize: 0 });
    return other;
  },
};

/** What is computed, from leaves made anew; and how many dispatches it is, and on a GPU where that is another number. */
const CASES: Record<string, { make(): Tensor[]; dispatches: number; gpu?: number }> = {
  'products of one input': {
    make: () => {
      const x = values(1, 1, 256);
      return [64, 64, 132, 61].map((n, i) => x.matmul(values(i + 2, n, 256).transpose(0, 1)));
    },
    dispatches: 2, // eight buffers suffice for three of them
  },
  'products of a few rows, with a bias and f16': {
    make: () => {
      const x = values(1, 3, 70);
      const [a, b] = [3, 4].map((seed) => x.matmul(values(seed, 70, 36)));
      return [a!.add(values(8, 36)), b!.to('f16')];
    },
    dispatches: 1,
  },
  'products with quantised weights': {
    make: () => {
      const x = values(1, 1, 96);
      const quantised = [2, 3].map((seed) => values(seed, 40, 96).to('q8').contiguous());
      return quantised.map((w) => x.matmul(w.transpose(0, 1)));
    },
    dispatches: 1,
  },
  'a product behind another, in the same threads': {
    make: () => {
      const x = values(1, 1, 200);
      const [gate, up] = [2, 3].map((seed) => x.matmul(values(seed, 52, 200).transpose(0, 1)));
      return [gate!.silu().mul(up!)];
    },
    dispatches: 1,
  },
  'the same where rows end in the middle of a quad': {
    make: () => {
      const x = values(1, 2, 130);
      const [gate, up] = [2, 3].map((seed) =>
        x.matmul(values(seed, 53, 130).transpose(0, 1)).add(values(seed + 5, 53)),
      );
      return [gate!.gelu().mul(up!)];
    },
    dispatches: 1,
  },
  'a product behind another of heads, whose threads write other elements': {
    make: () => {
      const heads = matmulOfHeads(values(1, 1, 4, 4, 8), values(2, 1, 4, 8, 16), 'f32'); // a view of [1, rows, heads, 16]
      return [
        values(3, 1, 4, 4, 8)
          .matmul(values(4, 1, 4, 8, 16))
          .add(heads.transpose(-3, -2)),
      ];
    },
    dispatches: 2,
  },
  'products of many rows of one input': {
    make: () => {
      const x = values(1, 40, 36).mul(2).contiguous();
      return [2, 3, 4].map((seed) => x.matmul(values(seed, 36, 48)));
    },
    dispatches: 4,
    gpu: 2,
  },
  'products of many rows whose other inputs would have to wait': {
    make: () => {
      const x = values(1, 40, 36);
      return [2, 3].map((seed) => x.matmul(values(seed, 36, 48).exp()));
    },
    dispatches: 4,
  },
  'the parts of a concatenation': {
    make: () => [concat([values(1, 3, 5, 4), values(2, 3, 2, 4), values(3, 3, 1, 4)], 1)],
    dispatches: 3,
    gpu: 1,
  },
  'parts that end in the middle of a quad': {
    make: () => [concat([values(1, 3, 5), values(2, 3, 8)], 1)],
    dispatches: 2,
    gpu: 1,
  },
  'writes beside what is computed': {
    make: () => {
      const [k, v, q] = [1, 2, 3].map((seed) => values(seed, 1, 4, 1, 8));
      const turn = values(4, 8);
      const states = [5, 6].map((seed) => values(seed, 1, 4, 16, 8).contiguous());
      return [overwrite(states[0]!, k!.mul(turn), 2, 7), overwrite(states[1]!, v!, 2, 7), q!.mul(turn)];
    },
    dispatches: 1,
  },
};

const ROWS = Object.entries(DEVICES).flatMap(([where, device]) =>
  Object.entries(CASES)
    .filter(([name, { gpu }]) => where === 'as here' || process.env.MODE === 'full' || gpu || name.includes('another')) // they compile long
    .map(([name, of]) => [name, where, { ...of, device }] as const),
);

describe('joint kernels', { timeout: 300_000 }, () => {
  it.each(ROWS)('%s, %s', async (_, __, { make, dispatches, gpu = dispatches, device }) => {
    const on = await setDevice(device());
    const joint = make();
    await run(joint.flatMap((t) => leavesOf(t))); // uploaded and quantised
    const before = on.counters.dispatches;
    await run(joint);
    expect(on.counters.dispatches - before).toBe(on.capabilities.software ? dispatches : gpu);
    for (const [i, t] of joint.entries()) {
      const alone = make()[i]!;
      expect(await bits(t)).toEqual(await bits(alone));
    }
  });
});

/** What an expression starts from, quantised weights among it. */
function leavesOf(t: Tensor): Tensor[] {
  const { base } = t;
  if (base.op === null || base.dtype === 'q8') return base.scalar === null ? [base] : [];
  return base.inputs.flatMap(leavesOf);
}
