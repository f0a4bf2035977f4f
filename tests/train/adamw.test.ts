import { beforeEach, describe, expect, it } from 'vitest';
import { AdamW, type Device, setDevice, type Tensor, tensor, trim } from '../../src/index.ts';

/** Steps of AdamW in float64 on sum((x - target)^2); the values after each. */
function reference(
  start: number[],
  target: number[],
  steps: number,
  { lr, betas: [b1, b2], eps, weight_decay } = OPTIONS,
) {
  const [p, m, v] = [[...start], start.map(() => 0), start.map(() => 0)];
  return Array.from({ length: steps }, (_, s) => {
    for (const i of p.keys()) {
      const g = 2 * (p[i]! - target[i]!);
      p[i]! *= 1 - lr * weight_decay;
      m[i] = b1 * m[i]! + (1 - b1) * g;
      v[i] = b2 * v[i]! + (1 - b2) * g * g;
      p[i]! -= (lr * (m[i]! / (1 - b1 ** (s + 1)))) / (Math.sqrt(v[i]! / (1 - b2 ** (s + 1))) + eps);
    }
    return [...p];
  });
}
const OPTIONS = { lr: 0.1, betas: [0.9, 0.99] as const, eps: 1e-8, weight_decay: 0.05 };
const START = [1, -2, 0.5];
const TARGET = [0.25, 3, 0.5];
const lossOf = (x: Tensor) => x.sub(tensor(TARGET)).square().sum();

let device: Device;
beforeEach(async () => {
  device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' }); // a new one, which holds nothing
});

describe('AdamW', () => {
  it('takes the steps of its paper', async () => {
    const x = tensor(START);
    const optimizer = new AdamW([x], OPTIONS);
    for (const want of reference(START, TARGET, 5)) {
      await optimizer.step(lossOf(x));
      const got = await x.add(0).data();
      for (const [i, w] of want.entries()) expect(Math.abs(got[i]! - w)).toBeLessThan(2e-6); // some f32 ops a step
    }
    expect(optimizer.steps).toBe(5);
  });
  it('gives the loss before the step, and goes down', async () => {
    const x = tensor(START);
    const optimizer = new AdamW([x], OPTIONS);
    const losses = [];
    for (let i = 0; i < 50; i++) losses.push(await optimizer.step(lossOf(x)));
    expect(losses[0]).toBe(0.5625 + 25);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 10);
  });
  it('has a rate that may change', async () => {
    const x = tensor(START);
    const optimizer = new AdamW([x], OPTIONS);
    optimizer.options.lr = 0;
    await optimizer.step(lossOf(x));
    expect(await x.data()).toEqual(Float32Array.from(START));
  });
  it.each<[string, number, (x: Tensor) => Tensor, string]>([
    ['a loss that is infinite', 1, (x) => x.mul(1e38).mul(1e38).sum(), 'the loss is'],
    ['a loss that is NaN', 1, (x) => x.sub(2).log().sum(), 'the loss is NaN'],
    ['an infinite gradient', 1, (x) => x.sub(1).sqrt().sum(), 'the parameters would not be finite'],
    ['a rate that is too high', 3e38, (x) => x.sum(), 'the parameters would not be finite'],
  ])('refuses %s, and changes nothing', async (_, lr, loss, message) => {
    const x = tensor([1]);
    const optimizer = new AdamW([x], { lr, weight_decay: 1 });
    const before = await optimizer.state_dict();
    const step = async () => {
      using own = loss(x);
      await optimizer.step(own);
    };
    await expect(step()).rejects.toThrow(`[AdamW] step 1: ${message}`);
    expect([await x.data(), await optimizer.state_dict()]).toEqual([Float32Array.of(1), before]);
    await trim(device);
    const { live } = device.pool.stats;
    await expect(step()).rejects.toThrow('Nothing was changed');
    await trim(device);
    expect(device.pool.stats.live).toBe(live);
    optimizer.options.lr = 0.5;
    expect(await optimizer.step(x.sum())).toBe(1);
    expect(optimizer.steps).toBe(1);
    expect((await x.data())[0]).toBeCloseTo(0, 6);
  });
  it('changes nothing when a step fails', async () => {
    const x = await tensor(START).realize();
    const optimizer = new AdamW([x], OPTIONS);
    await optimizer.step(lossOf(x));
    const before = await x.data();
    await expect(optimizer.step(x.sub(1))).rejects.toThrow('[grad] loss: got shape [3]');
    const gone = await tensor([1, 1, 1]).add(0).realize();
    gone.dispose();
    await expect(optimizer.step(x.mul(gone).sum())).rejects.toThrow('disposed');
    expect(await x.data()).toEqual(before);
    expect(optimizer.steps).toBe(1);
    await optimizer.step(lossOf(x));
  });
  it('keeps no buffers but the parameters', async () => {
    const x = await tensor(START).realize();
    const optimizer = new AdamW([x], OPTIONS);
    const target = tensor(TARGET);
    const step = async () => {
      using loss = x.sub(target).square().sum();
      await optimizer.step(loss);
    };
    for (let i = 0; i < 5; i++) await step();
    const made = { ...device.counters, buffers: device.pool.stats.created };
    for (let i = 0; i < 20; i++) await step();
    expect(device.pool.stats.created).toBe(made.buffers);
    expect(device.counters.pipelines).toBe(made.pipelines);
    optimizer.dispose();
    for (const t of [x, target]) t.dispose();
    await trim(device);
    expect(device.pool.stats).toMatchObject({ live: 0, free: 0 });
  });
  it('wants leaves in f32', async () => {
    expect(() => new AdamW([tensor([1]).add(1)])).toThrow('want f32 leaves');
    expect(() => new AdamW([tensor([1], { dtype: 'i32' })])).toThrow("load the model with dtype 'f32'");
  });
});
