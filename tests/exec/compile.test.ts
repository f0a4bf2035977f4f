import { describe, expect, it } from 'vitest';
import { arange, compile, defaultDevice, full, grad, setDevice, type Tensor, tensor, trim } from '../../src/index.ts';
import { randomNd, upload } from '../ops/harness.ts';

const x = (seed = 1) => upload(randomNd([3, 4], seed));

describe('compile', () => {
  it('gives what the function gives', async () => {
    const w = x(2);
    const f = (a: Tensor) => a.mul(2).matmul(w.transpose(0, 1)).softmax(-1);
    const step = compile(f);
    for (const seed of [1, 3]) {
      const y = await step(x(seed));
      expect(await y.data()).toEqual(await f(x(seed)).data());
    }
  });

  it('records once for each shape, and replays with new numbers', async () => {
    let recorded = 0;
    const step = compile((a, k) => {
      recorded++;
      return a.mul(k).add(1);
    });
    const f = step as (a: Tensor, k: number) => Promise<Tensor>;
    expect(await (await f(tensor([1, 2]), 3)).data()).toEqual(Float32Array.of(4, 7));
    const { counters, pool } = await defaultDevice();
    const before = { pipelines: counters.pipelines };
    for (const k of [0, -1, 1e10]) {
      const y = await f(tensor([1, 2]), k);
      expect(await y.data()).toEqual(Float32Array.of(Math.fround(k) + 1, Math.fround(2 * k) + 1));
      y.dispose();
    }
    expect(counters.pipelines).toBe(before.pipelines);
    expect(recorded).toBe(1);
    await f(tensor([1, 2, 3]), 1);
    await f(tensor([1, 2], { dtype: 'i32' }), 1);
    expect(recorded).toBe(3);
    expect(pool.stats.live).toBeGreaterThan(0);
  });

  it('returns one tensor, a list, or a record', async () => {
    const both = await compile((a: Tensor) => [a.add(1), a.sum()])(tensor([1, 2]));
    expect(await Promise.all(both.map((t) => t.data()))).toEqual([Float32Array.of(2, 3), Float32Array.of(3)]);
    const named = await compile((a: Tensor) => ({ twice: a.mul(2), same: a }))(tensor([1, 2]));
    expect(await named.twice.data()).toEqual(Float32Array.of(2, 4));
    expect(await named.same.data()).toEqual(Float32Array.of(1, 2));
  });

  it('takes and returns views', async () => {
    const step = compile((a: Tensor) => {
      const y = a.add(1);
      return { all: y, row: y.slice(0, 0, 1), column: y.slice(1, 1, 2), turned: y.transpose(0, 1) };
    });
    const { all, row, column, turned } = await step(
      tensor([
        [1, 3],
        [2, 4],
      ]).transpose(0, 1),
    );
    expect(await all.tolist()).toEqual([
      [2, 3],
      [4, 5],
    ]);
    expect(await row.tolist()).toEqual([[2, 3]]);
    expect(await column.tolist()).toEqual([[3], [5]]);
    expect(await turned.tolist()).toEqual([
      [2, 4],
      [3, 5],
    ]);
  });

  it('computes gradients', async () => {
    const w = x(2);
    const step = compile((a: Tensor) => grad(a.matmul(w.transpose(0, 1)).square().sum(), [a, w]));
    const [da, dw] = await step(x());
    const input = x();
    const want = grad(input.matmul(w.transpose(0, 1)).square().sum(), [input, w]);
    expect(await da!.data()).toEqual(await want[0]!.data());
    expect(await dw!.data()).toEqual(await want[1]!.data());
  });

  it('writes in place, at a place that changes', async () => {
    const step = compile((cache: Tensor, value: Tensor, at: Tensor) => {
      const next = cache.overwrite(value, 1, at);
      return { next, sum: next.sum() };
    }) as unknown as (c: Tensor, v: Tensor, at: number) => Promise<{ next: Tensor; sum: Tensor }>;
    let cache = tensor(new Float32Array(8), [2, 4]);
    for (let k = 0; k < 4; k++) {
      const { next, sum } = await step(cache, tensor([[k], [10 * k]]), k);
      await expect(cache.data()).rejects.toThrow(/overwritten/);
      expect(await sum.item()).toBe((11 * k * (k + 1)) / 2);
      cache = next;
    }
    expect(await cache.tolist()).toEqual([
      [0, 1, 2, 3],
      [0, 10, 20, 30],
    ]);
  });

  it("gives constants that are the caller's own", async () => {
    const w = tensor([5, 6]);
    const step = compile((a: Tensor) => {
      const c = arange(3, 'f32').add(a.size);
      return { y: a.add(1), c, turned: c.reshape([3, 1]), w, two: full([2], 2) };
    });
    for (let k = 0; k < 3; k++) {
      const { y, ...constants } = await step(x());
      const values = Object.values(constants).map((t) => t.tolist());
      expect(await Promise.all(values)).toEqual([
        [12, 13, 14],
        [[12], [13], [14]],
        [5, 6],
        [2, 2],
      ]);
      for (const t of [y, ...Object.values(constants)]) t.dispose();
    }
    expect(await w.tolist()).toEqual([5, 6]);
  });

  it('forgets what was recorded long ago', async () => {
    let recorded = 0;
    const step = compile((a: Tensor) => {
      recorded++;
      return a.add(1);
    });
    const call = async (n: number) => (await step(tensor(new Float32Array(n)))).dispose();
    for (let n = 1; n <= 70; n++) {
      await call(n);
      await call(1); // in use all the time
    }
    expect(recorded).toBe(70);
    await call(70);
    expect(recorded).toBe(70);
    await call(2);
    expect(recorded).toBe(71);
  });

  it('records once for calls that come together', async () => {
    let recorded = 0;
    const step = compile((a: Tensor, k: Tensor) => {
      recorded++;
      return a.mul(k);
    });
    const all = await Promise.all([1, 2, 3].map((k) => step(tensor([1, 2]), k)));
    expect(await Promise.all(all.map((t) => t.tolist()))).toEqual([1, 2, 3].map((k) => [k, 2 * k]));
    expect(recorded).toBe(1);
  });

  it('overwrites no tensor that it is given twice', async () => {
    const step = compile((state: Tensor, a: Tensor) => state.overwrite(a.slice(0, 0, 1), 0, 1));
    const t = tensor([1, 2]);
    await expect(step(t, t)).rejects.toThrow('[compile] computed f32 [2] is overwritten, and given twice');
    expect(await t.tolist()).toEqual([1, 2]);
    expect(await (await step(t, tensor([3, 4]))).tolist()).toEqual([1, 3]);
  });

  it('leaves nothing behind', async () => {
    const device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' }); // a new one, which holds nothing
    const step = compile((a: Tensor) => a.softmax(-1).add(1));
    for (let k = 0; k < 3; k++) {
      using a = x();
      using y = await step(a);
      await y.data();
    }
    await trim(device);
    expect(device.pool.stats.live).toBe(0);
  });
});
