// Thousands of forwards of a model: nothing is created after the first rounds, the heap stays, and all is given back.
import { expect, test } from 'vitest';
import { CLIPModel, defaultDevice, tensor, trim } from '../../src/index.ts';
import { collect } from '../collect.ts';

const ROUNDS = process.env.MODE === 'full' ? 10_000 : 200;

async function heap(): Promise<number> {
  for (let i = 0; i < 3; i++) await collect();
  return process.memoryUsage().heapUsed;
}

test(`${ROUNDS} forwards`, { timeout: 900_000 }, async () => {
  const device = await defaultDevice();
  const before = device.pool.stats.live;
  const model = await CLIPModel.from_pretrained('tests/goldens/cases/clip');
  const ids = new Int32Array(4).map((_, i) => 3 + i);
  const pixels = new Float32Array(3 * 30 * 30).map((_, i) => Math.sin(i));
  const round = async () => {
    using input_ids = tensor(ids, [1, 4]);
    using pixel_values = tensor(pixels, [1, 3, 30, 30]);
    using y = model.forward({ input_ids, pixel_values }).logits_per_image;
    return await y.data();
  };
  const first = await round();
  for (let i = 1; i < 10; i++) await round();
  const created = () => ({ buffers: device.pool.stats.created, ...device.counters, dispatches: 0, submits: 0 });
  const after10 = created();
  const heap10 = await heap();
  for (let i = 10; i < ROUNDS; i++) await round();
  expect(created()).toEqual(after10);
  expect(await heap()).toBeLessThan(heap10 + 2 ** 20); // what the engine keeps does not grow; 1 MB is the test's own noise
  expect(await round()).toEqual(first);

  model.dispose();
  await trim(device);
  expect(device.pool.stats).toMatchObject({ live: before, free: 0 });
});
