// Computing: finds or makes the plan of a graph, replays it, hands its outputs their storage.
import { Device, type DeviceChoice, DeviceLost } from '../gpu/device.ts';
import type { Buffer } from '../gpu/pool.ts';
import { checkOptions, checkTensorList, describe } from '../tensor/check.ts';
import { byteLength, isQuantised, type TypedArray } from '../tensor/dtype.ts';
import { isContiguous } from '../tensor/shape.ts';
import { attachRuntime, type Storage, type Tensor } from '../tensor/tensor.ts';
import { trace } from './graph.ts';
import { finalizer, reclaim, withRoom } from './reclaim.ts';
import { Replay } from './replay.ts';
import { serial } from './serial.ts';

/** The buffer of a tensor on its device. Disposed at `dispose()`, or some time after the tensor is unreachable. */
export class DeviceStorage implements Storage {
  readonly device: Device;
  readonly buffer: Buffer;
  disposed = false;
  #readers = 0;

  constructor(device: Device, buffer: Buffer) {
    this.device = device;
    this.buffer = buffer;
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    if (this.isGone) this.device.pool.release(this.buffer);
  }

  /** Whether its buffer is someone else's by now. */
  get isGone(): boolean {
    return this.disposed && this.#readers === 0;
  }

  /** Until the function it gives is called, its values stay, disposed or not. */
  keep(): () => void {
    this.#readers++;
    return () => {
      this.#readers--;
      if (this.isGone) this.device.pool.release(this.buffer);
    };
  }
}

/** Gives a tensor its values' place; it forgets what it came from. What it gives takes that back. */
export function settle(t: Tensor, storage: DeviceStorage): () => void {
  const { host, computed, composites } = t;
  const before = [t, ...composites].map((node) => ({ node, op: node.op, inputs: node.inputs }));
  Object.assign(t, { storage, host: null, computed: t.op !== null, composites: [] });
  for (const { node } of before) Object.assign(node, { op: null, inputs: [] });
  finalizer.register(t, storage, t);
  for (const keep of reading.get(t) ?? []) keep(storage);
  return () => {
    if (t.storage !== storage || storage.disposed) return; // others have done something with it since
    finalizer.unregister(t);
    storage.dispose();
    Object.assign(t, { storage: null, host, computed, composites });
    for (const { node, op, inputs } of before) Object.assign(node, { op, inputs });
  };
}

/** Tensors that are being read, and what keeps a storage that they get meanwhile. */
const reading = new WeakMap<Tensor, Set<(storage: DeviceStorage) => void>>();

/** Keeps the values of a tensor, once it has some, until it is itself disposed of. */
function keepValues(t: Tensor): Disposable {
  const kept: (() => void)[] = [];
  const keep = (storage: DeviceStorage) => void kept.push(storage.keep());
  if (t.storage instanceof DeviceStorage && !t.storage.disposed) keep(t.storage);
  const all = reading.get(t) ?? new Set();
  reading.set(t, all.add(keep));
  return {
    [Symbol.dispose]() {
      all.delete(keep);
      for (const letGo of kept) letGo();
    },
  };
}

/** Hands the storage of a computed tensor to another that stood for it. */
export function adopt(t: Tensor, from: Tensor): void {
  finalizer.unregister(from);
  settle(t, from.storage as DeviceStorage);
  from.storage = null;
}

/** What puts the values of a tensor on another device once its own is lost; gone with the tensor, and with those values. */
const restorers = new WeakMap<Tensor, () => Promise<void>>();
export const restoreBy = (t: Tensor, restore: () => Promise<void>) => restorers.set(t, restore);
export const restorerOf = (t: Tensor) => restorers.get(t);

/** New values for a tensor that is kept: it takes over the storage of `value`, which was computed, and gives back its own. */
export function assign(t: Tensor, value: Tensor): void {
  restorers.delete(t);
  finalizer.unregister(t);
  const old = t.storage;
  adopt(t, value);
  old?.dispose();
}

let chosen: Promise<Device> | undefined;
let choice: DeviceChoice = {};

/** The device that tensors without one are computed on: made at the first use or given to `setDevice`; a new one once it is lost. */
export async function defaultDevice(): Promise<Device> {
  const old = chosen;
  const device = await old?.catch(() => undefined);
  if (device && !device.isLost) return device;
  if (chosen !== old) return defaultDevice(); // chosen meanwhile
  const next = device ? device.heir() : Device.request(choice);
  chosen = next;
  next.catch(() => {
    if (chosen === next) chosen = old; // and the next call hears of it again
  });
  return next;
}

/** Chooses the default device: one that exists, or how to find an adapter. Where that fails the default stays what it was. */
export async function setDevice(device: Device | GPUDevice | DeviceChoice): Promise<Device> {
  if (typeof device !== 'object' || device === null) {
    throw new TypeError(`[setDevice] got ${describe(device)}, want a Device, a GPUDevice or { adapter: 'software' }`);
  }
  const old = chosen;
  const isDevice = device instanceof Device || 'queue' in device;
  const made = isDevice ? Promise.resolve(Device.from(device)) : Device.request(device);
  chosen = made; // at once, for who does not wait
  try {
    await made;
  } catch (error) {
    if (chosen === made) chosen = old;
    throw error;
  }
  if (!isDevice) choice = device;
  return made;
}

/** The buffer of a leaf, uploaded if it was on the host; `undo` gets what takes that back. */
export function leafStorage(t: Tensor, device: Device, undo: (() => void)[] = []): DeviceStorage {
  const known = t.storage as DeviceStorage | null;
  if (t.storage === OVERWRITTEN) throw new Error(`[run] ${t} was overwritten: use the tensor that the write returned`);
  if (known?.isGone) throw new Error(`[run] ${t} was disposed and is used again`);
  if (known && known.device !== device) throw new Error(`[run] ${t} is on another device; move it by its data()`);
  if (known) return known;
  if (!t.host && t.fill === null) throw new Error(`[run] ${t} has no values: its checkpoint is not loaded`);
  const storage = new DeviceStorage(device, device.pool.acquire(t.nbytes));
  if (t.host && t.size > 0) device.write(storage.buffer, 0, t.host);
  if (!t.host) device.fill(storage.buffer, t.fill!, t.nbytes);
  undo.push(settle(t, storage));
  return storage;
}

/** New storage of so many bytes, which the device has. */
export const allocate = (device: Device, bytes: number): Promise<DeviceStorage> =>
  withRoom(device, async () => {
    const storage = new DeviceStorage(device, device.pool.acquire(bytes));
    try {
      await device.pool.proven([storage.buffer]);
      return storage;
    } catch (error) {
      storage.dispose();
      throw error;
    }
  });

/** The device on which the first of some tensors lies, else `other` or the default one; now and then garbage on it is collected. */
export async function deviceOf(tensors: readonly Tensor[], other?: Device): Promise<Device> {
  const found = tensors.find((t) => t.storage)?.storage as DeviceStorage | undefined;
  const device = found?.device ?? other ?? (await defaultDevice());
  device.check();
  await reclaim(device);
  return device;
}

/** Makes the storage of a tensor its own before it is written in place. Throws where others hold it too. */
export function claim(t: Tensor): void {
  const { buffer } = t.storage as DeviceStorage;
  if (buffer.shares > 0) throw new Error(`[run] ${t} holds weights that are shared: write into a copy, x.add(0)`);
  buffer.freed?.(); // nobody finds it any more
  buffer.freed = undefined;
}

/** What a write in place returns takes over the storage of its target, whose handle goes stale. */
export function takeOver(t: Tensor, target: Tensor): void {
  restorers.delete(target);
  adopt(t, target);
  target.storage = OVERWRITTEN;
}
const OVERWRITTEN: Storage = { disposed: true, dispose: () => {} };

/** Whether the values were on a device that is lost. */
export const isLost = ({ base }: Tensor): boolean => {
  const storage = base.storage as DeviceStorage | null;
  return !!storage && !storage.disposed && storage.device.isLost;
};

/** Brings back what was on a lost device and can be had again. Throws DeviceLost, and names what cannot. */
export async function revive(tensors: readonly Tensor[]): Promise<void> {
  for (const t of tensors) {
    if (!isLost(t)) continue; // or no longer: a model comes back as a whole
    await restorers.get(t.base)?.();
    if (isLost(t)) throw new DeviceLost(`[run] ${t} was on a device that is lost, and nowhere else: make it again`);
  }
}

export type RunOptions = {
  /** The device for what is on none yet; the default device else. */
  device?: Device | undefined;
  /** Looked at between pieces of about a tenth of a second. */
  signal?: AbortSignal | undefined;
};

/**
 * Computes tensors, all in one plan. After an abort none of them is computed, and all can be asked for again; what was to
 * be written in place may have been written in part.
 */
export async function run(tensors: readonly Tensor[], options: RunOptions = {}): Promise<void> {
  checkTensorList('run', 'tensors', tensors);
  checkOptions('run', options, '{ signal }');
  await compute(tensors, options);
}

/** Computes tensors; what it gives takes that back. */
async function compute(tensors: readonly Tensor[], options: RunOptions = {}): Promise<() => void> {
  for (;;) {
    const { lost, undo } = await serial(() => attempt(tensors, options));
    if (lost.length === 0) return undo;
    await revive(lost); // not within the turn: it runs something itself
  }
}

/** Computes tensors; gives those that have to be brought back first, and what takes everything back. */
async function attempt(
  tensors: readonly Tensor[],
  { device: on, signal }: RunOptions,
): Promise<{ lost: Tensor[]; undo: () => void }> {
  const bases = [...new Set(tensors.map((t) => t.base))];
  for (const t of bases) if (t.storage?.disposed) leafStorage(t, (t.storage as DeviceStorage).device);
  const pending = bases.filter((t) => !t.storage && t.scalar === null);
  const graph = trace(pending);
  const lost = [...bases, ...graph.leaves].filter(isLost);
  const done: (() => void)[] = [];
  const undo = () => {
    for (const takeBack of done.splice(0)) takeBack();
  };
  if (lost.length > 0 || pending.length === 0) return { lost, undo };
  const device = await deviceOf(graph.leaves, on);
  const replay = graph.nodes.length > 0 ? await Replay.of(graph, device) : undefined;
  const work = async () => {
    try {
      // no await from here to the submit: whoever disposes a leaf does so before, and hears of it, or after
      const leaves = graph.leaves.map((t) => leafStorage(t, device, done).buffer);
      for (const { target } of graph.writes) claim(target);
      const scalars = graph.scalars.map((t) => t.scalar!);
      const buffers = replay ? await replay.run(leaves, scalars, signal) : [];
      await device.pool.proven(leaves);
      for (const [i, t] of graph.outputs.entries()) done.push(settle(t, new DeviceStorage(device, buffers[i]!)));
    } catch (error) {
      undo();
      throw error;
    }
  };
  await withRoom(device, work);
  for (const { node, target } of graph.writes) takeOver(node, target);
  return { lost, undo };
}

/** Computes a tensor and copies its elements to the host, even if it is disposed of meanwhile. */
async function read(t: Tensor): Promise<TypedArray> {
  if (t.size === 0) return hostArray(t.dtype, new ArrayBuffer(0), 0);
  using _ = keepValues(t.base);
  if (t.base.scalar !== null || !isContiguous(t.shape, t.layout) || isQuantised(t.dtype)) {
    const copy = isQuantised(t.dtype) ? t.to('f32').contiguous() : t.contiguous();
    try {
      return await read(copy);
    } finally {
      copy.dispose();
    }
  }
  const undo = await compute([t]);
  const storage = t.base.storage as DeviceStorage;
  if (storage.disposed) leafStorage(t.base, storage.device);
  const { device, buffer } = storage;
  const copy = () => device.read(buffer, byteLength(t.dtype, t.size));
  const bytes = await withRoom(device, copy).catch((error) => {
    if (error instanceof DeviceLost) undo(); // it may be computed again
    throw error;
  });
  return hostArray(t.dtype, bytes, t.size);
}

function hostArray(dtype: Tensor['dtype'], bytes: ArrayBuffer, size: number): TypedArray {
  if (dtype === 'f32') return new Float32Array(bytes, 0, size);
  if (dtype === 'i32') return new Int32Array(bytes, 0, size);
  if (dtype === 'u32') return new Uint32Array(bytes, 0, size);
  if (dtype === 'bool') return Uint8Array.from(new Uint32Array(bytes, 0, size));
  return Float32Array.from(new Uint16Array(bytes, 0, size), halfToFloat);
}

/** IEEE half to number. */
export function halfToFloat(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

attachRuntime({ run, read });
