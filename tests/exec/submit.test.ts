import { describe, expect, it } from 'vitest';
import { pieces } from '../../src/exec/submit.ts';
import { type Device, defaultDevice, run, type Tensor } from '../../src/index.ts';
import { randomNd, upload } from '../ops/harness.ts';

describe('pieces', () => {
  const step = (flops: number, bytes = 0) => ({ flops, bytes });
  it('cover all steps in order', () => {
    const cut = pieces(
      Array.from({ length: 1300 }, (_, i) => step(i * 1e6)),
      true,
    );
    expect(cut[0]!.from).toBe(0);
    expect(cut.at(-1)!.to).toBe(1300);
    for (const [k, { from }] of cut.slice(1).entries()) expect(from).toBe(cut[k]!.to);
  });
  it('end where a tenth of a second is up, or 512 dispatches', () => {
    const sizes = (list: ReturnType<typeof step>[], software = true) =>
      pieces(list, software).map((p) => p.to - p.from);
    expect(sizes([step(3e8), step(3e8), step(5e7), step(4e7), step(4e9)])).toEqual([1, 3, 1]);
    expect(sizes([step(1e9), step(1e9), step(1e8)], false)).toEqual([3]);
    expect(sizes([step(0, 3e8), step(0, 3e8)])).toEqual([1, 1]);
    expect(sizes(new Array(1025).fill(step(0)))).toEqual([512, 512, 1]);
    expect(sizes([])).toEqual([]);
  });
});

/** Products one behind the other, each about a tenth of a second on a software adapter. */
function slow(x: Tensor, steps: number): Tensor {
  let y = x;
  for (let i = 0; i < steps; i++) y = y.matmul(x).mul(0.01);
  return y;
}

describe('a run of several pieces', () => {
  it('stops at an abort, and can be asked for again', async () => {
    const x = await upload(randomNd([512, 512], 1)).realize();
    const y = slow(x, 12);
    const device: Device = await defaultDevice();
    await slow(x, 1).realize(); // compiled
    const before = device.counters.dispatches;
    const controller = new AbortController();
    const running = run([y], { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 20);
    await expect(running).rejects.toThrow('enough');
    expect(device.counters.dispatches - before).toBeLessThan(12);
    await run([y], { signal: new AbortController().signal });
    expect(device.counters.dispatches - before).toBeGreaterThanOrEqual(12);
    await expect(run([slow(x, 2)], { signal: AbortSignal.abort() })).rejects.toThrow('abort');
  });
  it('keeps what is disposed meanwhile until it is through', async () => {
    const x = await upload(randomNd([512, 512], 2)).realize();
    const want = await slow(x, 6).sum().item();
    const y = slow(x, 6).sum();
    const running = run([y], { signal: new AbortController().signal });
    await new Promise((resolve) => setTimeout(resolve, 20));
    x.dispose();
    const others = await Promise.all([1, 2, 3].map((seed) => upload(randomNd([512, 512], seed)).realize()));
    await running;
    expect(await y.item()).toBe(want);
    for (const t of others) t.dispose();
  });
});
