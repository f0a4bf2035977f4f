// Tensors from files into buffers of the device, in pieces: the host holds one piece at a time, the device converts.
import { adopt, DeviceStorage, run, settle } from '../exec/run.ts';
import type { Device } from '../gpu/device.ts';
import { FLOAT_FORMATS, type FloatFormat, from_bits } from '../ops/bits.ts';
import { tensor } from '../ops/create.ts';
import { arange } from '../ops/elementwise.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { Checkpoint, CheckpointTensor } from './checkpoint.ts';
import { UserError } from './error.ts';
import type { LayoutView, TensorView } from './layouts/index.ts';
import { bytesPer } from './safetensors.ts';
import type { Requests } from './weights.ts';

/** As transformers.js reports it; `progress` in percent, `loaded` and `total` in bytes. */
export type Progress =
  | { status: 'initiate' | 'ready'; name: string }
  | { status: 'progress' | 'done'; name: string; file: string; loaded: number; total: number; progress: number };

export type LoadOptions = {
  progress_callback?: ((event: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
};

const PIECE = 8 << 20; // bytes of a file in flight; a multiple of every quad

/** Throws everything that does not fit between a model and its checkpoint, at once. Names neither used nor asked for are returned. */
export function checkFit(name: string, { wanted, missing, misshaped }: Requests, view: LayoutView): string[] {
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
      `[${name}] the checkpoint does not fit its config: ${all}. Is it another model's, or incomplete?`,
    );
  }
  return unused;
}

/** Fills every tensor that the model asked for. On any error the buffers made so far are given back. */
export async function loadAll(
  checkpoint: Checkpoint,
  { wanted }: Requests,
  views: ReadonlyMap<string, TensorView>,
  device: Device,
  { progress_callback, signal }: LoadOptions,
): Promise<void> {
  const jobs = [...wanted].map(([path, t]) => {
    const view = views.get(path)!;
    return { t, view, stored: checkpoint.tensors.get(view.tensor)! };
  });
  jobs.sort((a, b) => (a.stored.source === b.stored.source ? a.stored.info.begin - b.stored.info.begin : 0));
  const total = jobs.reduce((n, { stored: { info } }) => n + info.end - info.begin, 0);
  const { name } = checkpoint;
  let loaded = 0;
  progress_callback?.({ status: 'initiate', name });
  try {
    for (const { t, view, stored } of jobs) {
      const onBytes = (bytes: number) => {
        signal?.throwIfAborted();
        loaded += bytes;
        const progress = total > 0 ? (100 * loaded) / total : 100;
        progress_callback?.({ status: 'progress', name, file: stored.source.name, loaded, total, progress });
      };
      adopt(t, await loadView(checkpoint, view, t.dtype as 'f32' | 'f16', device, onBytes));
    }
  } catch (error) {
    for (const { t } of jobs) t.storage?.dispose();
    throw error;
  }
  progress_callback?.({ status: 'ready', name });
}

/** One tensor as a layout shows it: rows, scaled where the file says so, transposed, in its shape. */
async function loadView(
  checkpoint: Checkpoint,
  view: TensorView,
  dtype: 'f32' | 'f16',
  device: Device,
  onBytes: (bytes: number) => void,
): Promise<Tensor> {
  const stored = checkpoint.tensors.get(view.tensor)!;
  const { info } = stored;
  const [first, last] = view.rows ?? [0, info.shape[0] ?? 1];
  const row = (info.end - info.begin) / Math.max(1, info.shape[0] ?? 1);
  const shape = info.shape.length > 0 ? [last - first, ...info.shape.slice(1)] : [];
  const scaled = info.dtype.startsWith('F8');
  const part = { ...stored, begin: info.begin + first * row, end: info.begin + last * row };
  using scale = scaled ? await scaleOf(checkpoint, view.tensor, device) : undefined;
  const raw = await stream(part, shape, scaled ? 'f32' : dtype, device, onBytes);
  if (!scaled && !view.transpose) return raw;
  let value = raw;
  if (scale) value = value.mul(blocks(scale, info.shape).slice(0, first, last));
  if (view.transpose) value = value.transpose(0, 1);
  const result = value.to(dtype).contiguous();
  try {
    await run([result], device);
  } finally {
    raw.dispose();
  }
  return result;
}

/** The scale of an fp8 tensor: `weight_scale` or `weight_scale_inv`, both of which multiply. */
async function scaleOf(checkpoint: Checkpoint, name: string, device: Device): Promise<Tensor> {
  const stored = checkpoint.tensors.get(`${name}_scale`) ?? checkpoint.tensors.get(`${name}_scale_inv`);
  if (!stored)
    throw new UserError(`[${checkpoint.name}] ${name} is fp8: want ${name}_scale or ${name}_scale_inv beside it`);
  const { info } = stored;
  return stream({ ...stored, begin: info.begin, end: info.end }, info.shape, 'f32', device, () => {});
}

/** A scale for each element of a matrix: one for all, for each row, or for each block of equal size. */
function blocks(scale: Tensor, shape: readonly number[]): Tensor {
  if (scale.size === 1) return scale.reshape(shape.map(() => 1)).expand(shape);
  let spread = scale.rank === 1 ? scale.reshape([-1, ...shape.slice(1).map(() => 1)]) : scale;
  shape.forEach((size, dim) => {
    const block = Math.ceil(size / spread.shape[dim]!);
    const places = arange(size, 'f32').add(0.5).div(block).floor().to('i32'); // half a step from any rounding
    spread = spread.index_select(dim, places);
  });
  return spread;
}

/** A range of a file as a tensor. Plain copies are written as they come; other formats are converted on the device. */
async function stream(
  { info, source, begin, end }: CheckpointTensor & { begin: number; end: number },
  shape: readonly number[],
  dtype: 'f32' | 'f16',
  device: Device,
  onBytes: (bytes: number) => void,
): Promise<Tensor> {
  if (!(info.dtype in FLOAT_FORMATS)) {
    throw new UserError(
      `[${source.name}] ${info.name} is ${info.dtype}: want one of ${Object.keys(FLOAT_FORMATS).join(', ')}`,
    );
  }
  const format = info.dtype as FloatFormat;
  const size = bytesPer(info.dtype);
  const result = new Tensor({ shape, dtype });
  const storage = new DeviceStorage(device, device.pool.acquire(result.nbytes));
  try {
    for (let at = begin; at < end; at += PIECE) {
      const bytes = await source.read(at, Math.min(PIECE, end - at));
      const words = new Uint32Array(Math.ceil(bytes.byteLength / 4)); // a file aligns nothing
      new Uint8Array(words.buffer).set(bytes);
      const offset = ((at - begin) / size) * (dtype === 'f16' ? 2 : 4);
      if (format.toLowerCase() === dtype) device.write(storage.buffer, offset, words);
      else {
        using raw = tensor(words);
        using piece = from_bits(raw, [bytes.byteLength / size], format, dtype);
        await run([piece], device);
        device.copy((piece.storage as DeviceStorage).buffer, storage.buffer, offset, piece.nbytes);
      }
      if (end - at > PIECE) await device.idle(); // what was written is copied by the driver until then
      onBytes(bytes.byteLength);
    }
  } catch (error) {
    storage.dispose();
    throw error;
  }
  settle(result, storage);
  return result;
}
