// The process that loads: folder, adapter and rounds are its arguments; it sends one message.
import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { CLIPVisionModel, Device, trim } from '../src/index.ts';

type Series = { us: number[]; peaks: number[] };
export type Loads = { adapter: string; read: number[]; f16: Series; f32: Series };

const PIECE = 8 << 20;
const EVERY = 20; // ms

const [folder = '', adapter, rounds] = process.argv.slice(2);

const now = () => 1e3 * performance.now();

/** Reads the weights and forgets them; microseconds. */
async function readAll(): Promise<number> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.safetensors'));
  const piece = new Uint8Array(PIECE);
  const start = now();
  for (const name of names) {
    const file = await open(path.join(folder, name));
    for (let at = 0, n = 1; n > 0; at += n) n = (await file.read(piece, 0, PIECE, at)).bytesRead;
    await file.close();
  }
  return now() - start;
}

/** Loads the model once; the peak is of memory that is not buffers of the device, above what it was. */
async function loadOnce(device: Device, dtype: 'f16' | 'f32'): Promise<{ us: number; peak: number }> {
  await trim(device);
  const beside = () => {
    const { liveBytes, freeBytes } = device.pool.stats;
    return process.memoryUsage.rss() - liveBytes - freeBytes;
  };
  const before = beside();
  let peak = 0;
  const sample = () => {
    peak = Math.max(peak, beside() - before);
  };
  const timer = setInterval(sample, EVERY);
  const start = now();
  using _model = await CLIPVisionModel.from_pretrained(folder, { device, dtype });
  await device.idle();
  const us = now() - start;
  sample();
  clearInterval(timer);
  return { us, peak };
}

const device = await Device.request({ adapter: adapter! });
const loads: Loads = { adapter: device.adapter.name, read: [], f16: { us: [], peaks: [] }, f32: { us: [], peaks: [] } };
await readAll(); // warms the cache of files
await loadOnce(device, 'f32'); // compiles
for (let r = 0; r < Number(rounds); r++) {
  loads.read.push(await readAll());
  for (const dtype of ['f16', 'f32'] as const) {
    const { us, peak } = await loadOnce(device, dtype);
    loads[dtype].us.push(us);
    loads[dtype].peaks.push(peak);
  }
}
process.send!(loads);
