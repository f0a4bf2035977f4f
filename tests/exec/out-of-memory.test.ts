// A driver without memory. Buffers are then invalid, and whatever is done with them is an error of its own.
import { describe, expect, it } from 'vitest';
import { sizeClass } from '../../src/gpu/pool.ts';
import { compile, type Device, defaultDevice, setDevice, tensor } from '../../src/index.ts';

const STORAGE_AND_MAP_READ = 0x81; // a usage that no buffer may have

/** The driver has no memory for the next `times` buffers of a number of floats, or of any. Gives how many there are still to come. */
function starve({ gpu }: Device, floats: number | undefined, times: number, usage = 0x80): () => number {
  const [make, pop] = [gpu.createBuffer.bind(gpu), gpu.popErrorScope.bind(gpu)];
  let failed = false;
  let left = times;
  gpu.createBuffer = (wanted) => {
    const isMeant = floats === undefined || wanted.size === sizeClass(4 * floats);
    if (!isMeant || !(wanted.usage & usage) || left === 0) return make(wanted);
    left--;
    failed = true;
    gpu.pushErrorScope('validation');
    const invalid = make({ ...wanted, usage: STORAGE_AND_MAP_READ });
    pop();
    return invalid;
  };
  gpu.popErrorScope = async () => {
    const told = failed ? ({ message: 'no memory' } as GPUError) : null;
    failed = false;
    const error = await pop();
    return told ?? error;
  };
  return () => left;
}
const fresh = () => setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
const values = (n: number) => Float32Array.from({ length: n }, (_, i) => i);

describe('a driver that has no memory, and then has', () => {
  it.each([
    ['what is uploaded', 5000, 0x80],
    ['what is computed', 6000, 0x80],
    ['what is read', 6000, 0x1],
    ['its parameters', undefined, 0x40],
  ])('for %s', async (_, floats, usage) => {
    const device = await fresh();
    const left = starve(device, floats, 2, usage);
    const y = tensor(values(5000)).slice(0, 0, 3000).expand([2, 3000]).add(1);
    expect((await y.data()).slice(0, 3)).toEqual(Float32Array.of(1, 2, 3));
    expect(left()).toBe(0);
  });
  it('for what a compiled function takes', async () => {
    const device = await fresh();
    const [given, taken] = [tensor(values(7000)), tensor(values(9000))];
    const left = [7000, 9000].map((floats) => starve(device, floats, 1));
    const step = compile((x) => x.slice(0, 1, 4).mul(taken.slice(0, 1, 4)));
    expect(await (await step(given)).data()).toEqual(Float32Array.of(1, 4, 9));
    expect(left.map((count) => count())).toEqual([0, 0]);
  });
});

it('a driver that has no memory is an error, after which all is as before', async () => {
  const device = await fresh();
  const left = starve(device, 5000, 3);
  const x = tensor(values(5000));
  const y = x.slice(0, 0, 3000).add(1);
  await expect(y.data()).rejects.toMatchObject({ name: 'OutOfMemory', message: expect.stringContaining('no memory') });
  expect(left()).toBe(0);
  expect(device.pool.stats).toMatchObject({ free: 0 });
  expect((await y.data()).slice(0, 3)).toEqual(Float32Array.of(1, 2, 3));
  expect((await defaultDevice()) === device).toBe(true);
});
