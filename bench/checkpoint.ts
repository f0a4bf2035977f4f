// Checkpoints with random weights that are the same on every side, by the names that our models ask for.
import type { Folder } from '../src/io/source.ts';
import { uniform } from './data.ts';
import type { Shapes } from './models.ts';

type Config = Record<string, unknown>;

const size = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);

/** Whether rows of a tensor are looked up, not multiplied. */
export const isTable = (name: string): boolean => /embed(ding|_tokens)\.weight$/.test(name);

/** Values of a tensor, by its name: norms near 1, matrices so that activations keep their size. */
export function weight(name: string, shape: readonly number[]): Float32Array {
  const seed = [...name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5); // FNV-1a
  const fanIn = size(shape.slice(1));
  const isRow = isTable(name) && fanIn < 1000;
  const x = uniform(size(shape), seed, shape.length < 2 ? 0.1 : isRow ? 0.5 : 1.2 / Math.sqrt(fanIn));
  if (/norm\w*\.weight$/.test(name)) for (let i = 0; i < x.length; i++) x[i]! += 1;
  return x;
}

/** The checkpoint as a folder in memory: a tensor is made when it is read. */
export function checkpoint(config: Config, shapes: Shapes): Folder {
  let end = 0;
  const header = Object.fromEntries(
    [...shapes].map(([name, shape]) => {
      const begin = end;
      end += 4 * size(shape);
      return [name, { dtype: 'F32', shape, data_offsets: [begin, end] }];
    }),
  );
  const json = new TextEncoder().encode(JSON.stringify(header));
  const start = 8 + json.length;
  const head = new Uint8Array(start);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  head.set(json, 8);
  let last: { name: string; bytes: Uint8Array } | undefined;
  const bytesOf = (name: string) => {
    if (last?.name !== name) last = { name, bytes: new Uint8Array(weight(name, shapes.get(name)!).buffer) };
    return last.bytes;
  };
  const read = async (offset: number, length: number) => {
    if (offset + length <= start) return head.slice(offset, offset + length);
    for (const [name, { data_offsets }] of Object.entries(header)) {
      const at = offset - start - data_offsets[0]!;
      if (at >= 0 && offset - start < data_offsets[1]!) return bytesOf(name).slice(at, at + length);
    }
    throw new Error(`[bench] nothing at ${offset}`);
  };
  const files: Record<string, string> = { 'config.json': JSON.stringify(config) };
  const name = 'model.safetensors';
  const folder: Folder = {
    name: 'random',
    list: async () => [...Object.keys(files), name],
    open: async (file) => (file === name ? { name, size: start + end, read } : undefined),
    text: async (file) => files[file],
    at: () => folder,
  };
  return folder;
}
