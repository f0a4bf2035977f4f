// Weights that several models take from the same place are on a device once; the last that lets go frees them.
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
