import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  arange,
  CLIPModel,
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
import { plan } from '../../src/tasks/plan.ts';
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
      `[gpu] a buffer of ${huge} bytes: the device's largest is ${device.gpu.limits.maxStorageBufferBindingSize}; split the tensor`,
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
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const left = () => device.pool.stats.live;
    for (let k = 0; k < 100 && left() > 5; k++) {
      collect();
      await new Promise((done) => setTimeout(done, 10));
    }
    expect(left()).toBeLessThanOrEqual(5); // of the plan, and perhaps of the last round
  });
});

describe('max_memory', () => {
  const tight = (max_memory: number) => setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software', max_memory });

  it('refuses what does not fit, says what would, and keeps nothing of it', async () => {
    const device = await tight(4e6);
    const x = await upload(randomNd([1000, 100], 1)).realize(); // 0.4 MB
    const before = device.pool.stats.liveBytes;
    const large = x.matmul(x.transpose(0, 1)).softmax(-1).sum(); // two of 4 MB
    await expect(large.item()).rejects.toMatchObject({
      name: 'OutOfMemory',
      message: expect.stringMatching(
        /^\[run\] this run takes 8\.\d MB beside 0\.4 MB in use, 3\.\d MB would fit: run fewer/,
      ),
    });
    expect(device.pool.stats.liveBytes).toBeLessThan(before + 4096); // parameters of the plan
    expect(device.pool.stats.free).toBe(0);
    expect(await x.narrow(0, 0, 10).square().mean().item()).toBeGreaterThan(0);
    x.dispose();
  });
  it('makes room of what waits', async () => {
    const device = await tight(3e6);
    for (let size = 500_000; size > 490_000; size -= 1000) {
      using y = await tensor([1]).expand([size]).add(1).realize(); // each of another size: 2 MB
      expect(y.size).toBe(size);
    }
    expect(device.pool.stats.liveBytes + device.pool.stats.freeBytes).toBeLessThanOrEqual(3e6);
  });
  it('is looked at before weights are read', async () => {
    const folder = 'tests/goldens/cases/clip';
    const reads: string[] = [];
    const load = async (max_memory: number, dtype: 'f32' | 'f16') => {
      const progress_callback = ({ status }: { status: string }) => void reads.push(status);
      return CLIPModel.from_pretrained(folder, { device: await tight(max_memory), dtype, progress_callback });
    };
    const { f32, f16 } = (await plan(folder)).weights.bytes;
    const error = { name: 'OutOfMemory', message: expect.stringMatching(/In f16 they take \d\.\d MB and would fit/) };
    await expect(load(f32 - 1, 'f32')).rejects.toMatchObject(error);
    expect(reads.filter((status) => status === 'progress')).toEqual([]);
    await expect(load(f16 - 1, 'f16')).rejects.toThrow('dispose other models, or raise max_memory');
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
