// A model's folder again, with other values in some of its tensors. Node, Deno and Bun only.
import { makeFolder } from '../gpu/make-folder.ts';
import { openCheckpoint } from './checkpoint.ts';
import { UserError } from './error.ts';
import { viewCheckpoint } from './layouts/index.ts';
import { locate, type ModelSource, type SourceOptions } from './locate.ts';
import { readHeader, saveSafetensors } from './safetensors.ts';
import type { ByteSource, Folder } from './source.ts';
import { writeWhole } from './write.ts';

/** Bits of floats in the format of a file; ties go to the even one. */
const ENCODE: Record<string, (values: Float32Array) => ArrayBufferView> = {
  F32: (values) => values,
  F16: (values) => Uint16Array.from(values, toHalf),
  BF16(values) {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    return Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16);
  },
};

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** A finite number to the nearest half. */
export function toHalf(value: number): number {
  float[0] = value;
  const sign = (word[0]! >>> 16) & 0x8000;
  const size = Math.abs(float[0]!);
  if (size >= 65520) return sign | 0x7c00;
  const step = 2 ** (Math.max(-14, Math.floor(Math.log2(size))) - 10); // between halves of this size
  const n = size < 2 ** -25 ? 0 : evenly(size / step);
  const scaled = n * step; // exact; it may have reached the next power
  if (scaled < 2 ** -14) return sign | (scaled * 2 ** 24);
  const exponent = Math.floor(Math.log2(scaled));
  return sign | ((exponent + 15) << 10) | ((scaled / 2 ** exponent - 1) * 1024);
}

const evenly = (x: number) => {
  const low = Math.floor(x);
  return x - low > 0.5 || (x - low === 0.5 && low % 2 === 1) ? low + 1 : low;
};

type Values = ReadonlyMap<string, Float32Array>;

/**
 * Writes all files of a model to a folder on disk. `values` are new ones by the names that transformers has; they are stored
 * under the names and in the formats of the old.
 */
export async function saveModel(
  from: ModelSource,
  to: string,
  values: Values,
  options: SourceOptions = {},
): Promise<void> {
  const { folder } = await locate(from, options);
  const checkpoint = await openCheckpoint(from, options);
  try {
    const { views, layout } = await viewCheckpoint(checkpoint);
    const beside = layout.beside && `${layout.beside.folder}.`; // how the names of its tensors begin
    const changed = new Map<string, Map<string, Float32Array>>(); // by folder and name of their file
    for (const [path, data] of values) {
      const view = views.get(path);
      const stored = view && checkpoint.tensors.get(view.tensor);
      if (!stored || view.rows || view.transpose || !(stored.info.dtype in ENCODE)) {
        throw new UserError(`[${checkpoint.name}] ${path} cannot be written back: want a tensor of F32, F16 or BF16`);
      }
      const isBeside = beside !== undefined && view.tensor.startsWith(beside);
      const file = isBeside ? `${layout.beside!.folder}/${stored.source.name}` : stored.source.name;
      const name = isBeside ? view.tensor.slice(beside.length) : view.tensor;
      changed.set(file, (changed.get(file) ?? new Map()).set(name, data));
    }
    await copyFiles(folder, to, '', changed);
    if (layout.beside) await copyFiles(folder.at(layout.beside.folder), to, `${layout.beside.folder}/`, changed);
  } finally {
    await checkpoint.close();
  }
}

/** Those of a folder, if it is there, to `to` below a path, with what changed in them. */
async function copyFiles(from: Folder, to: string, below: string, changed: ReadonlyMap<string, Values>): Promise<void> {
  const files = await from.list().catch((error) => {
    if (below === '') throw error;
    return [];
  });
  if (files.length > 0) await makeFolder(`${to}/${below}`);
  for (const file of files) {
    const source = await from.open(file);
    if (!source) continue;
    try {
      const values = changed.get(below + source.name);
      await (values ? replace(source, `${to}/${below}${file}`, values) : copy(source, `${to}/${below}${file}`));
    } finally {
      await source.close?.();
    }
  }
}

const PIECE = 2 ** 24;
const copy = (source: ByteSource, path: string): Promise<void> =>
  writeWhole(path, async (write) => {
    for (let at = 0; at < source.size; at += PIECE)
      await write(await source.read(at, Math.min(PIECE, source.size - at)));
  });

async function replace(source: ByteSource, path: string, values: Values): Promise<void> {
  const { tensors, metadata } = await readHeader(source);
  const read = (name: string) => {
    const { dtype, begin, end } = tensors.get(name)!;
    const data = values.get(name);
    return data ? ENCODE[dtype]!(data) : source.read(begin, end - begin);
  };
  await saveSafetensors(path, tensors, read, metadata);
}
