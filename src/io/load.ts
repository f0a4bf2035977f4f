// Tensors from files into buffers of the device, in pieces: the host holds one piece at a time, the device converts.
import { withRoom } from '../exec/reclaim.ts';
import { allocate, assign, DeviceStorage, restoreBy, restorerOf, run, settle } from '../exec/run.ts';
import type { Device } from '../gpu/device.ts';
import { megabytes, OutOfMemory, sizeClass } from '../gpu/pool.ts';
import { FLOAT_FORMATS, type FloatFormat, from_bits } from '../ops/bits.ts';
import { tensor } from '../ops/create.ts';
import { arange } from '../ops/elementwise-family.ts';
import { byteLength, isQuantised } from '../tensor/dtype.ts';
import { show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { Checkpoint, CheckpointTensor } from './checkpoint.ts';
import type { LoadOptions } from './download.ts';
import { UserError } from './error.ts';
import { isObject } from './json.ts';
import type { LayoutView, TensorView } from './layouts/index.ts';
import { bytesPer, count } from './safetensors.ts';
import { contentKeyOf, find, keyOf, offer, reserve } from './shared.ts';
import { type Requests, typeFor, type WeightType } from './weight-type.ts';

const PIECE = 8 << 20; // bytes of files in flight; a multiple of every quad

/** Where bytes go. `room` settles when so many more may be in flight; `onBytes` is told of those that were sent. */
type Flow = { device: Device; room(bytes: number): Promise<void>; onBytes(bytes: number): void };

/**
 * Throws everything that does not fit between a model and its checkpoint, at once; `kind` says which is loaded as which.
 * Names neither used nor asked for are returned.
 */
export function checkFit(
  name: string,
  { wanted, missing, misshaped }: Requests,
  view: LayoutView,
  kind?: string,
): string[] {
  const isScale = (path: string) => wanted.has(path.replace(/_scale(_inv)?$/, ''));
  const unused = [...view.unexpected, ...[...view.views.keys()].filter((path) => !wanted.has(path) && !isScale(path))];
  const few = (what: string, list: string[]) =>
    list.length === 0
      ? []
      : [`${list.length} ${what}: ${list.slice(0, 5).join('; ')}${list.length > 5 ? '; ...' : ''}`];
  const problems = [...few('missing', missing), ...few('of another shape', misshaped)];
  if (problems.length > 0) {
    const all = [...problems, ...few('not used', unused)].join(' | ');
    throw new UserError(
      `[${name}] the checkpoint does not fit its config: ${all}. Is it another model's${kind ? ` (${kind})` : ''}, or incomplete?`,
    );
  }
  return unused;
}

/**
 * Fills every tensor that the model asked for, all or none: on any error the buffers made so far are given back and the
 * tensors have what they had. `restore` is what brings the values back after the device is lost.
 */
export async function loadAll(
  checkpoint: Checkpoint,
  { wanted, matrices }: Requests,
  views: ReadonlyMap<string, TensorView>,
  device: Device,
  { progress_callback, signal, restore }: LoadOptions & { restore: () => Promise<void> },
): Promise<void> {
  const jobs = [...wanted].map(([path, t]) => {
    const view = views.get(path)!;
    return { t, view, stored: checkpoint.tensors.get(view.tensor)! };
  });
  jobs.sort((a, b) => (a.stored.source === b.stored.source ? a.stored.info.begin - b.stored.info.begin : 0));
  const total = jobs.reduce((n, { stored: { info } }) => n + info.end - info.begin, 0);
  const { name } = checkpoint;
  let loaded = 0;
  let flying = 0;
  const room = async (bytes: number) => {
    if (flying > 0 && flying + bytes > PIECE) {
      await device.idle(); // what was written is copied by the driver until then
      flying = 0;
    }
    flying += bytes;
  };
  for (const source of new Set(jobs.map(({ stored }) => stored.source))) await source.fetch?.();
  progress_callback?.({ status: 'initiate', name });
  const keys = new Map(jobs.map(({ t, view, stored }) => [t, keyOf(stored, view, t.dtype)]));
  using _ = await reserve(device, keys.values(), signal);
  const made = new Map<Tensor, Tensor>();
  const contents = new Map<Tensor, string | undefined>();
  try {
    const share = (t: Tensor, key: string | undefined): boolean => {
      const found = find(device, key);
      if (!found) return false;
      const shared = new Tensor({ shape: t.shape, dtype: t.dtype });
      settle(shared, found);
      made.set(t, shared);
      return true;
    };
    for (const { t } of jobs) share(t, keys.get(t));
    const fresh = [...wanted.values()].filter((t) => !made.has(t));
    await withRoom(device, async () => checkRoom(name, fresh, matrices, device));
    for (const { t, view, stored } of jobs) {
      const onBytes = (bytes: number) => {
        signal?.throwIfAborted();
        loaded += bytes;
        const progress = total > 0 ? (100 * loaded) / total : 100;
        progress_callback?.({ status: 'progress', name, file: stored.source.name, loaded, total, progress });
      };
      if (made.has(t)) {
        onBytes(stored.info.end - stored.info.begin);
        continue;
      }
      const key = keys.get(t);
      const twin = key !== undefined && jobs.find((job) => keys.get(job.t) === key && made.has(job.t));
      if (twin) {
        const { buffer } = made.get(twin.t)!.storage as DeviceStorage;
        const value = new Tensor({ shape: t.shape, dtype: t.dtype });
        settle(value, new DeviceStorage(device, device.pool.share(buffer)));
        made.set(t, value);
        onBytes(stored.info.end - stored.info.begin);
        continue;
      }
      const content = await contentKeyOf(stored, view, t.dtype);
      contents.set(t, content);
      if (share(t, content)) onBytes(stored.info.end - stored.info.begin);
      else made.set(t, await loadView(checkpoint, view, t.dtype as WeightType, { device, room, onBytes }));
    }
    await device.idle();
  } catch (error) {
    for (const t of made.values()) t.dispose();
    throw error;
  }
  for (const { t } of jobs) {
    const value = made.get(t)!;
    if (t.storage && (t.storage.disposed || restorerOf(t) !== restore)) {
      value.dispose(); // disposed or trained meanwhile
      continue;
    }
    assign(t, value);
    restoreBy(t, restore);
    offer(t.storage as unknown as DeviceStorage, [keys.get(t), contents.get(t)]);
  }
  progress_callback?.({ status: 'ready', name });
}

/** Throws before a byte is read where the weights cannot fit. */
function checkRoom(name: string, wanted: readonly Tensor[], matrices: Requests['matrices'], { pool }: Device): void {
  const size = (t: Tensor, type?: WeightType) =>
    sizeClass(type ? byteLength(typeFor(type, matrices.get(t) ?? 'other'), t.size) : t.nbytes);
  const bytes = (type?: WeightType) => wanted.reduce((n, t) => n + size(t, type), 0);
  const left = pool.limit - pool.stats.liveBytes;
  if (bytes() <= left) return;
  const fits = (['f16', 'q8', 'q4'] as const).find((type) => bytes(type) <= left);
  const hint = fits ? ` In ${fits} they take ${megabytes(bytes(fits))} and would fit: dtype '${fits}'.` : '';
  throw new OutOfMemory(
    `[${name}] the weights take ${megabytes(bytes())}, ${megabytes(left)} of max_memory ` +
      `${megabytes(pool.limit)} are left.${hint} Else dispose other models, or raise max_memory.`,
  );
}

/** One tensor as a layout shows it: rows, scaled where the file says so, transposed. Its storage has the wanted order. */
async function loadView(checkpoint: Checkpoint, view: TensorView, dtype: WeightType, flow: Flow): Promise<Tensor> {
  const stored = checkpoint.tensors.get(view.tensor)!;
  const { info } = stored;
  const [first, last] = view.rows ?? [0, info.shape[0] ?? 1];
  const row = (info.end - info.begin) / Math.max(1, info.shape[0] ?? 1);
  const shape = info.shape.length > 0 ? [last - first, ...info.shape.slice(1)] : [];
  const part = { ...stored, begin: info.begin + first * row, end: info.begin + last * row };
  const scales = info.dtype.startsWith('F8') ? scalesOf(checkpoint, view.tensor, info.shape) : undefined;
  using scale = scales && (await stream(scales.part, scales.grid, 'f32', { ...flow, onBytes: () => {} }));
  const whole = scales || (view.transpose && isQuantised(dtype)); // before it is rounded
  const raw = await stream(part, shape, whole ? 'f32' : dtype, flow);
  let kept: Tensor | undefined;
  try {
    let value = raw;
    if (scale) value = value.mul(spread(scale, info.shape, scales!.block, first, last));
    if (view.transpose) value = value.transpose(0, 1);
    const { base } = value.to(dtype).contiguous(); // `raw` itself where nothing has to move
    await run([base], { device: flow.device });
    kept = base;
    return base;
  } finally {
    if (kept !== raw) raw.dispose();
  }
}

/**
 * Where the scales of an fp8 tensor are (`weight_scale` or `weight_scale_inv`, both of which multiply), their grid, and
 * the elements that share one along each dimension. Blocks are those of config.json; without it they must be equal.
 */
function scalesOf(checkpoint: Checkpoint, name: string, shape: readonly number[]) {
  const { tensors } = checkpoint;
  const stored = tensors.get(`${name}_scale`) ?? tensors.get(`${name}_scale_inv`);
  if (!stored)
    throw new UserError(`[${checkpoint.name}] ${name} is fp8: want ${name}_scale or ${name}_scale_inv beside it`);
  const { info } = stored;
  const part = { ...stored, begin: info.begin, end: info.end };
  const ones = shape.map(() => 1);
  if (info.shape.length < 2 && count(info.shape) === 1) return { part, grid: ones, block: shape };
  const got = `[${checkpoint.name}] ${info.name} for ${show(shape)}: got shape ${show(info.shape)}`;
  const sizes = shape.length < 2 ? undefined : weightBlockSize(checkpoint);
  if (sizes) {
    const block = [...ones.slice(2), ...sizes];
    const grid = shape.map((size, dim) => Math.ceil(size / block[dim]!));
    if (show(info.shape) === show(grid)) return { part, grid, block };
    throw new UserError(
      `${got}, want ${show(grid)} by the weight_block_size ${show(sizes)} of config.json, or one scale`,
    );
  }
  const grid = info.shape.length === 1 ? [...info.shape, ...ones.slice(1)] : info.shape;
  const block = shape.map((size, dim) => size / (grid[dim] ?? 0));
  if (grid.length === shape.length && block.every(Number.isInteger)) return { part, grid, block };
  throw new UserError(
    `${got}, want one scale, one per row, or one per block of equal size. ` +
      'For other blocks want quantization_config.weight_block_size, [rows, cols], in config.json.',
  );
}

/** `quantization_config.weight_block_size` of config.json: [rows, cols] that share a scale. The last may be cut short. */
function weightBlockSize({ name, config }: Checkpoint): number[] | undefined {
  const quantization = config?.quantization_config;
  const sizes = isObject(quantization) ? quantization.weight_block_size : undefined;
  if (sizes === undefined || sizes === null) return undefined;
  if (Array.isArray(sizes) && sizes.length === 2 && sizes.every((n) => Number.isSafeInteger(n) && n > 0)) return sizes;
  throw new UserError(
    `[${name}] config.json, weight_block_size: got ${JSON.stringify(sizes)}, want two positive integers, [rows, cols]`,
  );
}

/** A grid of scales so that it multiplies rows first..last of a tensor; one scale along a dimension stays one. */
function spread(
  scale: Tensor,
  shape: readonly number[],
  block: readonly number[],
  first: number,
  last: number,
): Tensor {
  let result = scale;
  shape.forEach((size, dim) => {
    if (scale.shape[dim] === 1) return;
    const places = arange(size, 'f32').add(0.5).div(block[dim]!).floor().to('i32'); // half a step from any rounding
    result = result.index_select(dim, dim === 0 ? places.slice(0, first, last) : places);
  });
  return result;
}

/** A range of a file as a tensor. Plain copies are written as they come; other formats are converted on the device. */
async function stream(
  { info, source, begin, end }: CheckpointTensor & { begin: number; end: number },
  shape: readonly number[],
  dtype: WeightType,
  { device, room, onBytes }: Flow,
): Promise<Tensor> {
  if (!(info.dtype in FLOAT_FORMATS)) {
    throw new UserError(
      `[${source.name}] ${info.name} is ${info.dtype}: want one of ${Object.keys(FLOAT_FORMATS).join(', ')}`,
    );
  }
  const format = info.dtype as FloatFormat;
  const size = bytesPer(info.dtype);
  const result = new Tensor({ shape, dtype });
  const storage = await allocate(device, result.nbytes);
  try {
    for (let at = begin; at < end; at += PIECE) {
      const length = Math.min(PIECE, end - at);
      await room(length);
      const bytes = await source.read(at, length);
      const words = new Uint32Array(Math.ceil(bytes.byteLength / 4)); // a file aligns nothing
      new Uint8Array(words.buffer).set(bytes);
      const offset = at > begin ? byteLength(dtype, (at - begin) / size) : 0; // whole units: PIECE is many
      if (format.toLowerCase() === dtype) device.write(storage.buffer, offset, words);
      else {
        using raw = tensor(words);
        using piece = from_bits(raw, [bytes.byteLength / size], format, dtype === 'f16' ? 'f16' : 'f32').to(dtype);
        await run([piece], { device });
        device.copy((piece.storage as DeviceStorage).buffer, storage.buffer, offset, piece.nbytes);
      }
      onBytes(bytes.byteLength);
    }
  } catch (error) {
    storage.dispose();
    throw error;
  }
  settle(result, storage);
  return result;
}
