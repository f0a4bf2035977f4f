// Storage of tensors that nobody can reach. The collector of the host frees it, but it sees only the small objects of them
// and waits, and it tells only between tasks, which a loop of awaited runs need not leave.
import type { Device } from '../gpu/device.ts';
import { OutOfMemory } from '../gpu/pool.ts';

/** Disposes of a storage some time after its tensor has become unreachable. */
export const finalizer = new FinalizationRegistry<{ dispose(): void }>((storage) => storage.dispose());

const GROWTH = 2 ** 28; // bytes of new buffers, or a quarter of those in use, until the collector is called
const ROUNDS = 8;
const MANY_ROUNDS = 64; // where there is no other way
const TIMES = 2; // a collection that was under way spares what was dropped since it began
const PRESSURE = [2 ** 26, 2 ** 27, 2 ** 28]; // bytes; collectors of all hosts count those of an ArrayBuffer, used or not

const called = new WeakMap<Device, number>();

/** Has garbage collected where a device has made many new buffers since the last time. */
export async function reclaim(device: Device): Promise<void> {
  const { createdBytes, liveBytes } = device.pool.stats;
  const growth = Math.min(Math.max(GROWTH, liveBytes / 4), device.pool.limit / 4);
  if (createdBytes - (called.get(device) ?? 0) < growth) return;
  called.set(device, createdBytes);
  await collect(device, ROUNDS);
}

/** Does `work`; where there is no room for it, again with the storage of tensors that nobody can reach given back. */
export async function withRoom<T>(device: Device, work: () => Promise<T>): Promise<T> {
  for (let collected = 0; ; collected++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof OutOfMemory)) throw error;
      await device.idle().catch((late) => {
        if (device.isLost) throw late; // else it tells of what was done with a buffer that has no memory
      });
      if (collected === TIMES) throw error;
    }
    await collect(device, MANY_ROUNDS);
  }
}

/** Waits until unreachable tensors are disposed of, or the collector does not come. */
async function collect(device: Device, rounds: number): Promise<void> {
  await device.idle(); // what is destroyed while the queue still needs it takes its memory until then
  let isDone = false;
  finalizer.register({}, { dispose: () => (isDone = true) }); // garbage like the rest
  for (let k = 0; k < rounds && !isDone; k++) {
    press(PRESSURE[k] ?? PRESSURE.at(-1)!);
    await new Promise((done) => setTimeout(done));
  }
}

function press(bytes: number): void {
  try {
    new ArrayBuffer(bytes);
  } catch {
    // no room for it: the collector was called
  }
}
