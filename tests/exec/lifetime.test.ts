import { beforeEach, describe, expect, it, vi } from 'vitest';
import {
  arange,
  compile,
  Device,
  defaultDevice,
  full,
  grad,
  run,
  setDevice,
  type Tensor,
  tensor,
  trim,
} from '../../src/index.ts';
import { op } from '../../src/tensor/op.ts';
import { collect } from '../collect.ts';
import { randomNd, upload } from '../ops/harness.ts';

describe('disposed', () => {
  const message = async (use: () => Promise<unknown>) => {
    try {
      await use();
    } catch (error) {
      return (error as Error).message;
    }
    return 'no error';
  };
  const gone = async () => {
    const x = await tensor([[1, 2]])
      .add(1)
      .realize();
    x.dispose();
    x.dispose();
    return x;
  };

  it('tensors cannot be read', async () => {
    const x = await gone();
    expect(await message(() => x.data())).toMatchInlineSnapshot(
      `"[run] computed f32 [1, 2] was disposed and is used again"`,
    );
  });
  it('tensors cannot be computed with', async () => {
    const x = await gone();
    expect(await message(() => x.add(1).data())).toMatchInlineSnapshot(
      `"[run] computed f32 [1, 2] was disposed and is used again"`,
    );
  });
  it('views go with what they show', async () => {
    const x = await tensor([[1, 2]])
      .add(1)
      .realize();
    x.transpose(0, 1).dispose();
    expect(await message(() => x.data())).toMatchInlineSnapshot(
      `"[run] computed f32 [1, 2] was disposed and is used again"`,
    );
  });
  it('parents of a computed tensor do not matter', async () => {
    const x = await tensor([1, 2]).realize();
    const y = await x.add(1).realize();
    x.dispose();
    expect(await y.data()).toEqual(Float32Array.of(2, 3));
  });
  it('a tensor is disposed at the end of its block', async () => {
    let kept: Tensor;
    {
      using x = await tensor([1, 2]).add(1).realize();
      kept = x;
    }
    expect(await message(() => kept.data())).toMatch(/disposed/);
  });
});

describe('a device', () => {
  let device: Device;
  beforeEach(async () => {
    device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' }); // a new one, which holds nothing
  });

  /** A small network with every kind of step, and its gradient. */
  async function step(w: Tensor): Promise<number> {
    using x = upload(randomNd([4, 8], 1));
    using h = x.layer_norm().matmul(w).gelu();
    using loss = h.softmax(-1).mul(h).sum();
    using dw = grad(loss, [w])[0]!;
    await dw.realize();
    return await loss.item();
  }

  it('keeps no probabilities of attention for its gradient', async () => {
    const [L, D] = [192, 4];
    const bytes = async (layers: number) => {
      using x = await upload(randomNd([L, D], 1)).realize();
      let y = x as Tensor;
      for (let i = 0; i < layers; i++) y = y.scaled_dot_product_attention(y, y);
      using dx = grad(y.square().sum(), [x])[0]!;
      await dx.realize();
      const { liveBytes } = device.pool.stats;
      await trim(device);
      return liveBytes;
    };
    expect((await bytes(5)) - (await bytes(1))).toBeLessThan(4 * L * L);
  });

  it('creates nothing in 1,000 forwards', async () => {
    const w = await upload(randomNd([8, 8], 2)).realize();
    const forward = async () => {
      using x = tensor([[1, 2, 3, 4, 5, 6, 7, 8]]);
      return await x.matmul(w).gelu().add(1).softmax(-1).realize();
    };
    using first = await forward();
    for (let k = 0; k < 3; k++) (await forward()).dispose();
    const { dispatches, submits, ...made } = device.counters;
    const stats = { ...device.pool.stats };
    for (let k = 0; k < 1000; k++) (await forward()).dispose();
    expect(device.counters).toEqual({ ...made, dispatches: dispatches + 2000, submits: submits + 1000 });
    expect(device.pool.stats).toEqual(stats);
    using last = await forward();
    expect(await last.data()).toEqual(await first.data());
    w.dispose();
  });

  it('holds nothing when all is disposed and trimmed', async () => {
    const w = upload(randomNd([8, 8], 2));
    const first = await step(w);
    expect(await step(w)).toBe(first);
    w.dispose();
    await trim(device);
    expect(device.pool.stats).toMatchObject({ live: 0, liveBytes: 0, free: 0, freeBytes: 0 });
  });

  it('holds nothing when a computation fails', async () => {
    const gone = await tensor([1, 2]).realize();
    const fresh = tensor([3, 4]);
    gone.dispose();
    await expect(fresh.add(gone).data()).rejects.toThrow(/disposed/);
    fresh.dispose();
    await trim(device);
    expect(device.pool.stats.live).toBe(0);
  });
});

describe('a tensor larger than a buffer may be', () => {
  it('is refused, and nothing stays behind', async () => {
    const device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
    const huge = 2 * device.gpu.limits.maxBufferSize;
    const [x, y] = [full([4], 1).contiguous(), full([huge / 4], 1).contiguous()];
    await expect(run([x, y])).rejects.toThrow(
      `[gpu] a buffer of ${huge} bytes: the device's largest is ${device.gpu.limits.maxBufferSize}; split the tensor`,
    );
    await trim(device);
    expect(device.pool.stats.live).toBe(0);
    expect(await x.data()).toEqual(Float32Array.of(1, 1, 1, 1));
  });
});

describe('a tensor that nobody can reach', () => {
  it('gives its buffer back', async () => {
    const device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
    const use = async (k: number) => {
      const x = await tensor([k, 2, 3]).realize();
      return x.add(1).softmax(0).sum().item();
    };
    for (let k = 0; k < 20; k++) expect(await use(k)).toBeCloseTo(1, 5);
    const left = () => device.pool.stats.live;
    for (let k = 0; k < 100 && left() > 5; k++) await collect();
    expect(left()).toBeLessThanOrEqual(5); // of the plan, and perhaps of the last round
  });
});

describe('tensors dropped in a loop that never leaves its task', () => {
  const shape = [2 ** 22]; // 16 MiB
  const blank = op({ name: 'blank', backward: null, dispatch: () => [] }, () => ({ shape, dtype: 'f32' }));
  const LOOPS: [string, () => Promise<Tensor>][] = [
    ['run', () => blank([]).realize()],
    ['call', compile(() => blank([]))],
  ];
  it.each(LOOPS)('of %s stay bounded', async (_, next) => {
    const device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
    let most = 0;
    for (let k = 0; k < 300; k++) {
      await next();
      most = Math.max(most, device.pool.stats.liveBytes);
    }
    expect(most).toBeLessThan(1.5 * 2 ** 30); // of 4.7 GiB; on crowded cores the collector comes late
    await trim(device);
  });
});

describe('the end of the process', () => {
  it('destroys the devices in use, by one listener for all', async () => {
    vi.resetModules();
    const { Device } = await import('../../src/gpu/device.ts');
    const before = process.listeners('exit');
    const make = async () => {
      const device = await Device.request({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
      return { device, destroy: vi.spyOn(device.gpu, 'destroy') };
    };
    const [used, disposed] = [await make(), await make()];
    const [listener, ...more] = process.listeners('exit').filter((f) => !before.includes(f));
    expect(more).toEqual([]);
    disposed.device.dispose();
    await disposed.device.gpu.lost;
    listener!(0);
    expect(used.destroy).toHaveBeenCalledOnce();
    expect(disposed.destroy).toHaveBeenCalledOnce();
    expect((await used.device.gpu.lost).reason).toBe('destroyed');
    process.off('exit', listener!);
  });
});

describe('a lost device', () => {
  it.each(['write', 'read'] as const)('takes no constants along that came for what it lost at a %s', async (when) => {
    const device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
    const x = tensor([1, 2, 3]);
    const [y, other] = [x.mul(2), x.layer_norm()];
    const work = device[when].bind(device) as (...args: unknown[]) => never;
    vi.spyOn(device, when).mockImplementation((...args: unknown[]) => {
      device.gpu.destroy();
      return work(...args);
    });
    await expect(y.data()).rejects.toMatchObject({ name: 'DeviceLost' });
    expect(await y.data()).toEqual(Float32Array.of(2, 4, 6));
    expect((await other.data()).length).toBe(3);
    expect(await x.data()).toEqual(Float32Array.of(1, 2, 3));
  });
});

describe('another device', () => {
  it('has tensors of its own, and says so', async () => {
    const here = await tensor([1, 2]).realize();
    const old = await defaultDevice();
    const other = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
    expect(other).not.toBe(old);
    const there = await tensor([3, 4]).realize();
    await expect(here.add(there).data()).rejects.toThrowErrorMatchingInlineSnapshot(
      `[Error: [run] computed f32 [2] is on another device; move it by its data()]`,
    );
    expect(await here.add(1).data()).toEqual(Float32Array.of(2, 3));
    other.dispose();
    await other.gpu.lost;
    await expect(there.add(1).data()).rejects.toThrow(/\[run\] computed f32 \[2\] was on a device that is lost/);
    await setDevice(old);
    expect(await tensor([1]).add(1).item()).toBe(2);
  });
  it('has the constants of what was compiled for it', async () => {
    const own = await Device.request({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
    const w = tensor([1, 2, 3]);
    await run([w], { device: own });
    const f = compile((x) => x.mul(w).add(arange(3, 'f32').exp().mul(0)));
    const y = await f(tensor([1, 1, 1]));
    expect(await y.data()).toEqual(Float32Array.of(1, 2, 3));
    own.dispose();
  });
});
