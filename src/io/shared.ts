// Weights that several models take from the same place, or that are the same bytes, are on a device once; the last that lets go
// frees them. Of the same place that holds while they are being loaded, too.
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

/** Smaller tensors are not worth a hash, larger ones are read in pieces. */
const HASHED = [4096, 8 << 20] as const;

/** What is the same for the same bytes in the same form, in whatever file; none where it is not worth knowing. */
export async function contentKeyOf(
  { source, info }: CheckpointTensor,
  view: TensorView,
  dtype: string,
): Promise<string | undefined> {
  const size = info.end - info.begin;
  const { subtle } = globalThis.crypto ?? {}; // a page that is not secure has none
  if (!subtle || size < HASHED[0] || size > HASHED[1] || info.dtype.startsWith('F8')) return undefined;
  const bytes = (await source.read(info.begin, size)) as Uint8Array<ArrayBuffer>;
  const hash = new Uint8Array(await subtle.digest('SHA-256', bytes));
  return ['content', hash, info.dtype, view.shape, view.rows, view.transpose, dtype].join('|');
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

const keysOf = new WeakMap<Buffer, Set<string>>();

/** Lets others share it from now on, under each of these keys. */
export function offer({ device, buffer }: DeviceStorage, keys: readonly (string | undefined)[]): void {
  const all = kept.get(device) ?? new Map<string, Buffer>();
  kept.set(device, all);
  const own = keysOf.get(buffer) ?? new Set<string>();
  keysOf.set(buffer, own);
  for (const key of keys) {
    if (key === undefined) continue;
    all.set(key, buffer);
    own.add(key);
  }
  buffer.freed = () => {
    for (const key of own) if (all.get(key) === buffer) all.delete(key);
    own.clear();
  };
}
