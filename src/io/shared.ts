// Weights that several models take from the same place are on a device once, also while they are being loaded; the last that
// lets go frees them.
import { DeviceStorage } from '../exec/run.ts';
import type { Device } from '../gpu/device.ts';
import type { Buffer } from '../gpu/pool.ts';
import type { CheckpointTensor } from './checkpoint.ts';
import type { TensorView } from './layouts/index.ts';

const kept = new WeakMap<Device, Map<string, Buffer>>();

/** What is the same wherever a tensor is loaded from the same bytes in the same form; none where that cannot be told. */
export function keyOf({ source, info }: CheckpointTensor, view: TensorView, dtype: string): string | undefined {
  if (source.identity === undefined || info.dtype.startsWith('F8')) return undefined; // fp8 has scales elsewhere
  return [source.identity, info.name, view.rows, view.transpose, dtype].join('|');
}

/** A share in what is on the device under this key. */
export function find(device: Device, key: string | undefined): DeviceStorage | undefined {
  const buffer = key === undefined ? undefined : kept.get(device)?.get(key);
  return buffer && new DeviceStorage(device, device.pool.share(buffer));
}

/** The loads under way, by what they bring. */
const loading = new WeakMap<Device, Map<string, Promise<void>>>();

/**
 * Waits for loads that bring some of these, however they end, and then has later ones wait for this one until it is disposed
 * of. Nobody waits who has others wait, so there is no circle.
 */
export async function reserve(
  device: Device,
  keys: Iterable<string | undefined>,
  signal: AbortSignal | undefined,
): Promise<Disposable> {
  const all = loading.get(device) ?? new Map<string, Promise<void>>();
  loading.set(device, all);
  const wanted = [...keys].filter((key) => key !== undefined);
  const missing = () => wanted.filter((key) => !kept.get(device)?.has(key));
  for (;;) {
    const others = missing().flatMap((key) => all.get(key) ?? []);
    if (others.length === 0) break;
    await orAborted(Promise.all(others), signal);
  }
  const mine = missing();
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  for (const key of mine) all.set(key, ended);
  return {
    [Symbol.dispose]() {
      for (const key of mine) all.delete(key);
      end();
    },
  };
}

/** Settles as `work` does, or at once with the reason of an abort. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  signal.throwIfAborted();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop);
  });
  return Promise.race([work, aborted]).finally(() => signal.removeEventListener('abort', stop));
}

/** Lets others share it from now on. */
export function offer({ device, buffer }: DeviceStorage, key: string | undefined): void {
  if (key === undefined) return;
  const all = kept.get(device) ?? new Map<string, Buffer>();
  kept.set(device, all);
  all.set(key, buffer);
  buffer.freed = () => {
    if (all.get(key) === buffer) all.delete(key);
  };
}
