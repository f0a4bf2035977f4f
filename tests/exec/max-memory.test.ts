import { describe, expect, it } from 'vitest';
import { CLIPModel, compile, full, setDevice, tensor } from '../../src/index.ts';
import { plan } from '../../src/tasks/plan.ts';
import { randomNd, upload } from '../ops/harness.ts';

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
  it('is a number of bytes', async () => {
    await expect(tight(Number.NaN)).rejects.toThrow('max_memory: got NaN, want a number of bytes');
    await expect(tight(-1)).rejects.toThrow('want a number of bytes');
  });
  it('makes room of what waits', async () => {
    const device = await tight(3e6);
    for (let size = 500_000; size > 490_000; size -= 1000) {
      using y = await tensor([1]).expand([size]).add(1).realize(); // each of another size: 2 MB
      expect(y.size).toBe(size);
    }
    expect(device.pool.stats.liveBytes + device.pool.stats.freeBytes).toBeLessThanOrEqual(3e6);
  });
  it.each([3, 4.5])('has garbage collected before it refuses, %d MB at a time', async (megabytes) => {
    const device = await tight(16e6);
    const step = compile((x) => x.expand([megabytes * 25e4]).add(1));
    for (let k = 0; k < 10; k++) {
      const size = megabytes * 25e4 - 256 * k; // of other classes now and then
      await full([size], k).contiguous().realize();
      await step(tensor([k]));
    }
    expect(device.pool.stats.liveBytes).toBeLessThanOrEqual(16e6);
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
