// The safetensors format (https://github.com/huggingface/safetensors#format): an 8 byte length, a JSON header, the data.
// The header is checked in full before a byte of data is read.
import { describe } from '../tensor/check.ts';
import { UserError } from './error.ts';
import { type Json, parseHeader } from './json.ts';
import { NOT_WEIGHTS, SNIFF_BYTES, sniff } from './sniff.ts';
import type { ByteSource } from './source.ts';

/** Bytes per element, in the order in which the reference library sorts the types in a file (last first). */
const SIZES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  F8_E4M3FNUZ: 1,
  F8_E5M2FNUZ: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  C64: 8,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;
const PACKED = ['F4', 'F6_E2M3', 'F6_E3M2'];

/** A type of the format, by its name there. */
export type StoredDtype = keyof typeof SIZES;

const DTYPES = Object.keys(SIZES) as StoredDtype[];
/** The format's own limit. */
const MAX_HEADER = 100_000_000;

/** One tensor of a file; its bytes are [begin, end) of the file, little-endian, row-major. */
export type TensorInfo = { name: string; dtype: StoredDtype; shape: number[]; begin: number; end: number };
export type Header = { tensors: Map<string, TensorInfo>; metadata: Map<string, string> };

export const bytesPer = (dtype: StoredDtype): number => SIZES[dtype];
export const isStoredDtype = (name: string): name is StoredDtype => Object.hasOwn(SIZES, name);
export const count = (shape: readonly number[]): number => shape.reduce((n, size) => n * size, 1);

/** Reads and checks the header of a file. Throws a UserError that says what is wrong with the file and what to do. */
export async function readHeader(source: ByteSource): Promise<Header> {
  const fail = (what: string): never => {
    throw new UserError(`[${source.name}] ${what}`);
  };
  const head = await source.read(0, Math.min(source.size, SNIFF_BYTES));
  const kind = sniff(head);
  if (kind !== 'a safetensors file') {
    if (kind) fail(NOT_WEIGHTS[kind] ?? `this is ${kind}, not weights: want a .safetensors file`);
    if (head.length < 9) fail(`too short for a safetensors file: got ${head.length} bytes`);
  }
  const view = new DataView(head.buffer, head.byteOffset);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > MAX_HEADER) {
    fail(`not a safetensors file: got a header length of ${length}, want at most ${MAX_HEADER}`);
  }
  const start = 8 + length;
  if (start > source.size) {
    fail(`cut off in the header: got ${source.size} bytes, want at least ${start}. Get the file again.`);
  }
  if (head[8] !== 0x7b) fail(`not a safetensors file: the header starts with byte ${head[8]}, want '{'`);
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await source.read(8, length));
  } catch (error) {
    if (error instanceof UserError) throw error;
    fail('damaged header: it is not UTF-8 text');
  }
  const entries = parseHeader(text, source.name) as Map<string, Json>;
  const metadata = entries.get('__metadata__') ?? new Map<string, Json>();
  entries.delete('__metadata__');
  if (!isTextMap(metadata)) return fail('damaged header: __metadata__ is not an object of texts');
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of entries) tensors.set(name, tensorInfo(name, entry, start, source));
  checkCover(tensors, start, source);
  return { tensors, metadata };
}

function tensorInfo(name: string, entry: Json, start: number, source: ByteSource): TensorInfo {
  const fail = (what: string): never => {
    throw new UserError(`[${source.name}] tensor ${JSON.stringify(name)}: ${what}`);
  };
  if (!(entry instanceof Map)) return fail('got no object {dtype, shape, data_offsets}');
  const dtype = entry.get('dtype');
  const shape = entry.get('shape');
  const offsets = entry.get('data_offsets');
  if (typeof dtype !== 'string' || !isStoredDtype(dtype)) {
    if (PACKED.includes(dtype as string)) fail(`${dtype} packs several values in a byte, which is not supported`);
    return fail(`unknown dtype: got ${shown(dtype)}, want one of ${DTYPES.join(' ')}`);
  }
  if (!isCounts(shape)) return fail(`bad shape: got ${shown(shape)}, want an array of integers >= 0`);
  if (!isCounts(offsets) || offsets.length !== 2) {
    return fail(`bad data_offsets: got ${shown(offsets)}, want [begin, end]`);
  }
  const bytes = count(shape) * SIZES[dtype];
  if (!Number.isSafeInteger(bytes)) return fail(`too large: shape [${shape}]`);
  const [begin, end] = [start + offsets[0]!, start + offsets[1]!];
  if (end - begin !== bytes) {
    fail(`its bytes do not fit its shape: got data_offsets [${offsets}], want ${bytes} bytes for ${dtype} [${shape}]`);
  }
  if (end > source.size) {
    fail(`the file is cut off: got ${source.size} bytes, want at least ${end}. Get the file again.`);
  }
  return { name, dtype, shape, begin, end };
}

/** Every byte after the header belongs to exactly one tensor. */
function checkCover(tensors: Map<string, TensorInfo>, start: number, source: ByteSource): void {
  let end = start;
  for (const info of [...tensors.values()].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (info.begin !== end) {
      const what = info.begin < end ? 'overlaps the tensor before it' : 'leaves a gap before it';
      throw new UserError(
        `[${source.name}] tensor ${JSON.stringify(info.name)} ${what}: it starts at ${info.begin - start}, want ${end - start}`,
      );
    }
    end = info.end;
  }
  if (end !== source.size) {
    throw new UserError(`[${source.name}] ${source.size - end} bytes after the last tensor: the file is damaged`);
  }
}

const isTextMap = (value: Json): value is Map<string, string> =>
  value instanceof Map && [...value.values()].every((text) => typeof text === 'string');

const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
const isCounts = (value: Json | undefined): value is number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size));

function shown(value: Json | undefined): string {
  const text = value instanceof Map ? 'an object' : (JSON.stringify(value) ?? 'nothing');
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

/** What goes into a file: `data` holds the elements in row-major order. */
export type StoredTensor = { dtype: StoredDtype; shape: readonly number[]; data: ArrayBufferView };
/** Everything about a tensor but its bytes. */
export type TensorPlan = Omit<StoredTensor, 'data'>;

function pairsOf<T>(what: string, given: Iterable<readonly [string, T]>, want: string): (readonly [string, T])[] {
  const list = typeof given === 'object' && given && Symbol.iterator in given ? [...given] : undefined;
  if (list?.every((pair) => Array.isArray(pair) && typeof pair[0] === 'string')) return list;
  throw new TypeError(`[safetensors] ${what}: got ${describe(given)}, want a Map, or pairs, of names and ${want}`);
}

function checkPlan(name: string, plan: TensorPlan): void {
  const { dtype, shape } = plan ?? {};
  if (typeof dtype === 'string' && isStoredDtype(dtype) && Array.isArray(shape) && shape.every(isSize)) return;
  const got = plan instanceof Object ? `dtype ${describe(dtype)}, shape ${describe(shape)}` : describe(plan);
  const want = `a dtype of ${DTYPES.join(', ')}, and a shape`;
  throw new TypeError(`[safetensors] ${name}: got ${got}, want ${want}`);
}

/** Header bytes (length, JSON, padding to 8) and the tensors in file order, as the reference library lays them out. */
export function planFile(
  tensors: Iterable<readonly [string, TensorPlan]>,
  metadata: Iterable<readonly [string, string]> = [],
): { header: Uint8Array; order: TensorInfo[] } {
  const all = pairsOf('tensors', tensors, "{ dtype: 'F32', shape, data }");
  for (const [name, plan] of all) checkPlan(name, plan);
  const sorted = all.sort(
    ([a, { dtype: p }], [b, { dtype: q }]) => DTYPES.indexOf(q) - DTYPES.indexOf(p) || byCodePoint(a, b),
  );
  const entries: string[] = [];
  const notes = pairsOf('metadata', metadata, 'texts');
  const odd = notes.find(([, text]) => typeof text !== 'string');
  if (odd) throw new TypeError(`[safetensors] metadata ${odd[0]}: got ${describe(odd[1])}, want a text`);
  if (notes.length > 0) {
    entries.push(
      `"__metadata__":{${notes.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`,
    );
  }
  const order: TensorInfo[] = [];
  const names = new Set<string>(['__metadata__']);
  let end = 0;
  for (const [name, { dtype, shape }] of sorted) {
    if (names.has(name)) throw new Error(`[safetensors] the name ${JSON.stringify(name)} is taken`);
    names.add(name);
    const begin = end;
    end += count(shape) * SIZES[dtype];
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    order.push({ name, dtype, shape: [...shape], begin, end });
  }
  const json = new TextEncoder().encode(`{${entries.join()}}`);
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  header.set(json, 8);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  for (const info of order) {
    info.begin += header.length;
    info.end += header.length;
  }
  return { header, order };
}

/** A whole file in memory, byte for byte what the reference library writes for the same tensors. */
export function writeSafetensors(
  tensors: Iterable<readonly [string, StoredTensor]>,
  metadata?: Iterable<readonly [string, string]>,
): Uint8Array {
  const list = pairsOf('tensors', tensors, "{ dtype: 'F32', shape, data }");
  const { header, order } = planFile(list, metadata);
  const all = new Map(list);
  const file = new Uint8Array(order.at(-1)?.end ?? header.length);
  file.set(header);
  for (const info of order) file.set(bytesOf(info, all.get(info.name)!.data), info.begin);
  return file;
}

/**
 * Writes a file to disk, one tensor in memory at a time: `read` is called in file order. The file appears under its name
 * only when it is complete; after an error nothing of it is left. (Node, Deno, Bun.)
 */
export async function saveSafetensors(
  path: string,
  tensors: Iterable<readonly [string, TensorPlan]>,
  read: (name: string) => ArrayBufferView | Promise<ArrayBufferView>,
  metadata?: Iterable<readonly [string, string]>,
): Promise<void> {
  const { writeWhole } = await import('./write.ts');
  if (typeof path !== 'string') throw new TypeError(`[safetensors] path: got ${describe(path)}, want a text`);
  if (typeof read !== 'function') throw new TypeError(`[safetensors] read: got ${describe(read)}, want a function`);
  const { header, order } = planFile(tensors, metadata);
  await writeWhole(path, async (write) => {
    await write(header);
    for (const info of order) await write(bytesOf(info, await read(info.name)));
  });
}

function bytesOf(info: TensorInfo, data: ArrayBufferView): Uint8Array {
  if (!ArrayBuffer.isView(data)) {
    throw new TypeError(`[safetensors] ${info.name}: got ${describe(data)} for data, want a typed array`);
  }
  if (data.byteLength !== info.end - info.begin) {
    throw new Error(
      `[safetensors] ${info.name}: got ${data.byteLength} bytes, want ${info.end - info.begin} for ${info.dtype} [${info.shape}]`,
    );
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Order of UTF-8 bytes, which is not the order of JavaScript's UTF-16 units. */
function byCodePoint(a: string, b: string): number {
  const [p, q] = [[...a], [...b]];
  for (let i = 0; i < Math.min(p.length, q.length); i++) {
    const d = p[i]!.codePointAt(0)! - q[i]!.codePointAt(0)!;
    if (d !== 0) return d;
  }
  return p.length - q.length;
}
