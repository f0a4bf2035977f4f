import { beforeAll, describe, expect, it, vi } from 'vitest';
import { concat, type Device, defaultDevice, grad, run, scalar, type Tensor, tensor, trim } from '../../src/index.ts';
import { randomNd, upload } from '../ops/harness.ts';

let device: Device;
beforeAll(async () => {
  device = await defaultDevice();
});
const made = () => ({
  pipelines: device.counters.pipelines,
  bindGroups: device.counters.bindGroups,
  buffers: device.pool.stats.created,
});

const ROWS = tensor([0, 2, 1], { dtype: 'i32' });
const STRUCTURES: Record<string, (x: Tensor, k: number) => Tensor> = {
  'a chain': (x, k) => x.mul(k).add(1).tanh(),
  'a product with its epilogue': (x, k) => x.matmul(x.transpose(0, 1)).mul(k).softmax(-1),
  concat: (x, k) => concat([x.mul(k), x], 1),
  pad: (x, k) => x.pad([1, 1], k),
  'a gradient': (x, k) => grad(x.mul(k).sigmoid().sum(), [x])[0]!,
  'gathered rows': (x, k) => ROWS.embedding(x.mul(k)),
};

describe('a plan is found again', () => {
  for (const [name, build] of Object.entries(STRUCTURES)) {
    it(name, async () => {
      const forward = async (k: number) => {
        const x = upload(randomNd([4, 8], 1));
        const y = build(x, k);
        const values = await y.data();
        x.dispose();
        y.dispose();
        return values;
      };
      const first = await forward(2);
      await forward(2);
      const before = made();
      const again = await forward(2);
      const other = await forward(3);
      expect(made()).toEqual(before);
      expect(again).toEqual(first);
      expect(other).not.toEqual(first);
    });
  }

  it('for numbers of any size and sign', async () => {
    const x = tensor([1, 2], { dtype: 'i32' });
    await x.realize();
    for (const k of [0, -1, 7, 2 ** 31 - 1, -(2 ** 31)]) {
      expect(await x.mul(0).add(k).data()).toEqual(Int32Array.of(k, k));
    }
    const u = await tensor([0, 0], { dtype: 'u32' }).realize();
    expect(await u.add(4294967295).data()).toEqual(Uint32Array.of(4294967295, 4294967295));
    expect(await u.to('f32').add(-0.5).data()).toEqual(Float32Array.of(-0.5, -0.5));
  });

  it('but not for another shape, layout or type', async () => {
    const plan = async (x: Tensor) => {
      const before = device.pool.stats.created;
      await x.add(1).data();
      return device.pool.stats.created - before;
    };
    await plan(tensor([1, 2, 3, 4]));
    const events: boolean[] = [];
    const { setTrace } = await import('../../src/index.ts');
    setTrace((e) => e.type === 'plan' && events.push(e.cached));
    try {
      await plan(tensor([4, 3, 2, 1]));
      await plan(tensor([1, 2, 3]));
      await plan(
        tensor([
          [1, 2],
          [3, 4],
        ]).transpose(0, 1),
      );
      await plan(tensor([1, 2, 3, 4], { dtype: 'i32' }));
    } finally {
      setTrace(undefined);
    }
    expect(events).toEqual([true, false, false, false]);
  });

  it('and other values reach it', async () => {
    const [a, b] = [scalar(0.25), scalar(4)];
    const x = tensor([1, 2]);
    expect(await x.mul(a).add(b).data()).toEqual(Float32Array.of(4.25, 4.5));
    expect(await x.mul(b).add(a).data()).toEqual(Float32Array.of(4.25, 8.25));
    expect(await a.mul(b).item()).toBe(1);
  });
});

describe('what runs at once', () => {
  it('runs one after the other and computes a shared tensor once', async () => {
    const x = upload(randomNd([4, 8], 1));
    const shared = x.softmax(-1);
    const before = device.counters.dispatches;
    const [a, b, c] = await Promise.all([shared.data(), shared.data(), shared.sum().item()]);
    expect(a).toEqual(b);
    expect(c).toBeCloseTo(4, 5);
    expect(device.counters.dispatches - before).toBe(2);
  });
  it('keeps the values of different graphs apart', async () => {
    const inputs = Array.from({ length: 5 }, (_, i) => tensor([i, i + 1]));
    const all = await Promise.all(inputs.map((x) => x.mul(2).softmax(-1).mul(10).data()));
    for (const values of all) expect(values).toEqual(all[0]);
  });
  it('an error of one does not stop the next', async () => {
    const gone = await tensor([1]).add(1).realize();
    gone.dispose();
    const [bad, good] = await Promise.allSettled([gone.add(1).data(), tensor([1]).add(1).data()]);
    expect(bad.status).toBe('rejected');
    expect(good).toEqual({ status: 'fulfilled', value: Float32Array.of(2) });
  });
});

describe('long graphs', () => {
  it('go in several submits', async () => {
    const before = { ...device.counters };
    let x = upload(randomNd([2, 4], 1));
    for (let k = 0; k < 600; k++) x = x.softmax(-1);
    for (const v of await x.data()) expect(v).toBeCloseTo(0.25, 5);
    expect(device.counters.dispatches - before.dispatches).toBe(600);
    expect(device.counters.submits - before.submits).toBe(2);
  });
  it('of 50,000 elementwise nodes take linear time, and have a gradient', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const { dispatches } = device.counters;
    const x = tensor([0, 2]);
    let y = x;
    for (let k = 0; k < 25_000; k++) y = y.mul(1).add(1);
    const [dx] = grad(y.sum(), [x]);
    expect(await y.data()).toEqual(Float32Array.of(25_000, 25_002));
    expect(await dx!.data()).toEqual(Float32Array.of(1, 1));
    expect(device.counters.dispatches - dispatches).toBe(Math.ceil(50_000 / 64) + Math.ceil(25_000 / 64));
    expect(warn).toHaveBeenCalledExactlyOnceWith(expect.stringMatching('a graph of 50000 pending nodes: is a loop'));
    warn.mockRestore();
  });
});

describe('plans of a device', () => {
  it('are few: the least recently used goes, with its buffer', async () => {
    await trim(device);
    const x = await tensor(new Float32Array(300)).realize();
    for (let n = 1; n <= 140; n++) (await x.slice(0, 0, n).contiguous().add(1).realize()).dispose();
    const { live } = device.pool.stats;
    for (let n = 141; n <= 160; n++) (await x.slice(0, 0, n).contiguous().add(1).realize()).dispose();
    expect(device.pool.stats.live).toBe(live);
    x.dispose();
  });
  it('are freed by trim, after which all works as before', async () => {
    const x = tensor([1, 2, 3]);
    const y = x.add(1).sum();
    expect(await y.item()).toBe(9);
    x.dispose();
    y.dispose();
    await trim(device);
    expect(device.pool.stats).toMatchObject({ free: 0, freeBytes: 0 });
    expect(await tensor([1, 2, 3]).add(1).sum().item()).toBe(9);
  });
  it('run several outputs at once, each its own', async () => {
    const x = tensor([1, 2]);
    const [a, b] = [x.add(1), x.mul(5)];
    await run([a, b, a, a.reshape([2, 1])]);
    expect([await a.data(), await b.data()]).toEqual([Float32Array.of(2, 3), Float32Array.of(5, 10)]);
  });
});
