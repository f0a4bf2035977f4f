// The process that loads: folder, adapter, dtype and rounds are its arguments; it sends one message.
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { CLIPVisionModel, Device, trim } from '../src/index.ts';

/** Microseconds, and the largest resident memory beyond the weights, in bytes. */
export type Loads = { adapter: string; load: number[]; read: number[]; peak: number };

const EVERY = 20; // ms

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL')); // nobody is left to answer
const [folder = '', adapter = 'auto', dtype, rounds] = process.argv.slice(2);

const us = () => 1e3 * performance.now();

/** Reads the files of weights and forgets them. */
async function read(): Promise<number> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.safetensors'));
  const start = us();
  for (const name of names) await readFile(path.join(folder, name));
  return us() - start;
}

/** Loads the model once, looking at the memory of this process meanwhile. */
async function load(device: Device): Promise<{ time: number; peak: number }> {
  const before = process.memoryUsage.rss();
  let arrived = 0; // bytes of weights on the device, whose memory is ours where it is software
  let peak = 0;
  const look = () => {
    peak = Math.max(peak, process.memoryUsage.rss() - before - (device.capabilities.software ? arrived : 0));
  };
  const timer = setInterval(look, EVERY);
  const start = us();
  const model = await CLIPVisionModel.from_pretrained(folder, {
    device,
    dtype: dtype as 'f16' | 'f32',
    progress_callback: (event) => {
      if (event.status === 'progress') arrived = event.loaded * (dtype === 'f32' ? 2 : 1);
    },
  });
  await device.idle();
  const time = us() - start;
  look();
  clearInterval(timer);
  model.dispose();
  await trim(device);
  return { time, peak };
}

const device = await Device.request({ adapter });
const { peak } = await load(device); // in fresh memory; it also compiles, so its time does not count
const loads: Loads = { adapter: device.adapter.name, load: [], read: [], peak };
for (let r = 0; r < Number(rounds); r++) {
  loads.read.push(await read());
  loads.load.push((await load(device)).time);
}
process.send!(loads);
