import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arange, grad, type Tensor, tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { below, EXACT, expectClose, randomNd, type Spec, testOp, upload } from './harness.ts';

const views: Record<string, Omit<Spec, 'tolerance'>> = {
  reshape: {
    op: (x) => x.reshape([3, -1]),
    reference: (x) => ref.reshape(x, [3, -1]),
    inputs: [[[2, 3, 5]], [[0, 6]]],
  },
  permute: {
    op: (x) => x.permute([2, 0, 1]),
    reference: (x) => ref.permute(x, [2, 0, 1]),
    inputs: [[[2, 3, 5]], [[4, 8, 12]], [[3, 0, 2]]],
  },
  transpose: { op: (x) => x.transpose(0, -1), reference: (x) => ref.permute(x, [2, 1, 0]), inputs: [[[2, 3, 5]]] },
  expand: {
    op: (x) => x.expand([4, 2, 3]),
    reference: (x) => ref.expand(x, [4, 2, 3]),
    inputs: [[[2, 1]], [[1, 1, 1]], [[]]],
  },
  slice: {
    op: (x) => x.slice(1, 1, -1, 2),
    reference: (x) => ref.slice(x, 1, 1, x.shape[1]! - 1, 2),
    inputs: [[[3, 7, 2]], [[2, 8]], [[2, 2]]],
  },
  flip: {
    op: (x) => x.flip(1),
    reference: (x) => ref.nd(x.shape, ([i, j, k]) => ref.at(x, [i!, x.shape[1]! - 1 - j!, k!])),
    inputs: [[[2, 2, 8]], [[3, 5, 2]], [[2, 1, 4]], [[2, 0, 4]]],
  },
  narrow: { op: (x) => x.narrow(-1, 3, 4), reference: (x) => ref.slice(x, 1, 3, 7), inputs: [[[3, 8]]] },
  select: {
    op: (x) => x.select(1, -1),
    reference: (x) => ref.reshape(ref.slice(x, 1, 2, 3), [2, 4]),
    inputs: [[[2, 3, 4]]],
  },
  squeeze: { op: (x) => x.squeeze(), reference: (x) => ref.reshape(x, [2, 3]), inputs: [[[1, 2, 1, 3]]] },
  'squeeze one': { op: (x) => x.squeeze(-2), reference: (x) => ref.reshape(x, [1, 2, 3]), inputs: [[[1, 2, 1, 3]]] },
  unsqueeze: { op: (x) => x.unsqueeze(1), reference: (x) => ref.reshape(x, [2, 1, 3]), inputs: [[[2, 3]]] },
  flatten: { op: (x) => x.flatten(1, 2), reference: (x) => ref.reshape(x, [2, 15, 2]), inputs: [[[2, 3, 5, 2]]] },
  'split and join': {
    op: (x) => {
      const [a, b, c] = x.split([1, 2, 2], 1);
      return c!.sub(b!).mul(a!);
    },
    reference: (x) => {
      const [a, b, c] = [ref.slice(x, 1, 0, 1), ref.slice(x, 1, 1, 3), ref.slice(x, 1, 3, 5)];
      return ref.map((p, q, r) => (p! - q!) * r!)(c, b, a);
    },
    inputs: [[[3, 5]]],
    dtypes: ['f32'],
  },
  'a chain of views': {
    op: (x) => x.permute([1, 0, 2]).slice(0, 1, 3).reshape([2, -1]).transpose(0, 1),
    reference: (x) => ref.permute(ref.reshape(ref.slice(ref.permute(x, [1, 0, 2]), 0, 1, 3), [2, -1]), [1, 0]),
    inputs: [[[2, 3, 4]]],
  },
};
for (const [name, spec] of Object.entries(views)) {
  const [first] = spec.inputs as Exclude<Spec['inputs'], { generate: unknown }>;
  testOp(name, {
    tolerance: { all: 2 ** -22, from: 'copied; a difference and a product, rounded' },
    grad: first!,
    ...spec,
  });
}

describe('views', () => {
  it('read up to eight dimensions in any order', async () => {
    const x = randomNd([2, 3, 2, 1, 2, 3, 2, 2], 1);
    const order = [7, 1, 5, 3, 0, 2, 6, 4];
    const y = await upload(x).permute(order).contiguous().data();
    expect(Array.from(y)).toEqual(Array.from(ref.permute(x, order).data, Math.fround));
  });

  it('show the storage of their base and copy nothing', async () => {
    const x = await arange(12).contiguous().reshape([3, 4]).realize();
    expect(x.transpose(0, 1).slice(0, 1).base).toBe(x.base);
    expect(x.reshape([12])).not.toBe(x);
    expect(x.reshape([3, 4])).toBe(x);
    expect(x.expand([3, 4])).toBe(x);
    expect(x.slice(0)).toBe(x);
  });

  it('are read at their place', async () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(await x.slice(1, -2).tolist()).toEqual([
      [2, 3],
      [5, 6],
    ]);
    expect(await x.slice(1, 5).tolist()).toEqual([[], []]);
    expect(await x.slice(0, 1).slice(1, 1).item.call(x.select(0, 1).select(0, 2))).toBe(6);
    expect(await x.transpose(0, 1).tolist()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
    expect(await Promise.all(x.split(2, 1).map((t) => t.tolist()))).toEqual([
      [
        [1, 2],
        [4, 5],
      ],
      [[3], [6]],
    ]);
    expect(await tensor(7).expand([2, 2]).tolist()).toEqual([
      [7, 7],
      [7, 7],
    ]);
  });

  it('gradients of overlapping views add up', async () => {
    const x = tensor([1, 2, 3, 4]);
    const loss = x
      .slice(0, 0, 3)
      .mul(x.slice(0, 1, 4))
      .sum();
    expect(await grad(loss, [x])[0]!.data()).toEqual(Float32Array.of(2, 4, 6, 3));
  });
});

testOp('contiguous', {
  op: (x) => x.transpose(0, 1).contiguous(),
  reference: (x) => ref.permute(x, [1, 0]),
  inputs: [[[5, 7]], [[1, 9]], [[64, 33]], [[68, 260]]],
  tolerance: EXACT,
  dtypes: ['f32', 'f16', 'i32', 'u32', 'bool'],
});
testOp('contiguous, of four dimensions', {
  op: (x) => x.slice(3, 1).permute([0, 3, 1, 2]).contiguous(),
  reference: (x) => ref.permute(ref.slice(x, 3, 1, x.shape[3]!), [0, 3, 1, 2]),
  inputs: [[[2, 3, 5, 8]], [[3, 4, 8, 9]], [[1, 2, 3, 5]]],
  tolerance: EXACT,
  dtypes: ['f32', 'i32'],
});
testOp('contiguous, of a dimension in the middle', {
  op: (x) => x.permute([0, 3, 2, 1]).contiguous(),
  reference: (x) => ref.permute(x, [0, 3, 2, 1]),
  inputs: [[[2, 3, 4, 7]], [[2, 8, 3, 12]]],
  tolerance: EXACT,
  grad: [[2, 3, 4, 5]],
});

type Pick = { kind: number; a: number; b: number };
/** One random view of x, of the engine and of the reference. */
function randomView(x: Tensor, v: ref.Nd, { kind, a, b }: Pick): [Tensor, ref.Nd] {
  const d = a % Math.max(1, x.rank);
  const n = x.shape[d] ?? 1;
  const both = (shape: number[]): [Tensor, ref.Nd] => [x.reshape(shape), ref.reshape(v, shape)];
  if (kind === 0) {
    const order = x.shape.map((_, i) => (i + b) % x.rank);
    return [x.permute(order), ref.permute(v, order)];
  }
  if (kind === 1 && x.rank > 0) {
    const [start, step] = [b % n, 1 + (a % 3)];
    return [x.slice(d, start, n, step), ref.slice(v, d, start, n, step)];
  }
  if (kind === 2) {
    const factor = [6, 4, 3, 2, 1].find((f) => n % f === 0)!;
    return both([...x.shape.slice(0, d), factor, n / factor, ...x.shape.slice(d + 1)]);
  }
  if (kind === 3 && d + 1 < x.rank) return both([...x.shape.slice(0, d), n * x.shape[d + 1]!, ...x.shape.slice(d + 2)]);
  if (kind === 4 && x.size < 200) {
    const shape = [...x.shape.slice(0, d), 1 + (b % 3), ...x.shape.slice(d)];
    const flat = [...x.shape.slice(0, d), 1, ...x.shape.slice(d)];
    return [x.unsqueeze(d).expand(shape), ref.expand(ref.reshape(v, flat), shape)];
  }
  return kind === 5 ? [x.add(1), ref.map((e) => e! + 1)(v)] : [x, v];
}

describe('random chains of views', () => {
  it('show what they should, and add up the gradients of what they show', async () => {
    const chains = fc.array(fc.record({ kind: fc.nat(5), a: fc.nat(20), b: fc.nat(20) }), {
      minLength: 1,
      maxLength: 7,
    });
    const shapes = fc.array(fc.constantFrom(1, 2, 3, 4, 6, 12), { minLength: 1, maxLength: 3 });
    const check = async (shape: number[], chain: Pick[], dtype: 'f32' | 'f16' | 'i32') => {
      const value = randomNd(shape, 1, dtype, below(50));
      const x = await upload(value, dtype).realize();
      let [y, want] = [x as Tensor, value];
      for (const pick of chain) [y, want] = randomView(y, want, pick);
      const [dx] = dtype === 'f32' ? grad(y.sum(), [x]) : []; // before y is computed and forgets its parents
      if (dx) expect(await dx.sum().item()).toBe(y.size); // every element shown has its 1 somewhere
      await expectClose(y, want, EXACT);
      await expectClose(y.sub(y.mul(3)), ref.map((v) => -2 * v!)(want), EXACT);
      await expectClose(
        y.sum(),
        ref.sum(want),
        dtype === 'f16' ? { each: 2 ** -10, from: 'one rounding to f16' } : EXACT,
      );
    };
    const types = fc.constantFrom('f32' as const, 'f16' as const, 'i32' as const);
    await fc.assert(fc.asyncProperty(shapes, chains, types, check), { seed: 1, numRuns: 25 });
  });
});
