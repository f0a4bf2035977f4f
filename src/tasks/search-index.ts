// What is kept of a folder of pictures between searches: the embedding of each, in a safetensors file beside them, or in the
// user's cache where the folder takes none. Node, Deno and Bun only. N = pictures, E = embedding.
import { makeFolder } from '../gpu/make-folder.ts';
import { userCache } from '../gpu/software.ts';
import { openCheckpoint } from '../io/checkpoint.ts';
import { asUserError, UserError } from '../io/error.ts';
import { sha256 } from '../io/hash.ts';
import { isObject, parseObject } from '../io/json.ts';
import { at, type PictureFile } from '../io/pictures.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import { readHeader, saveSafetensors } from '../io/safetensors.ts';
import { fromPath, statPath } from '../io/source.ts';
import type { ModelSource } from './auto.ts';

/** Of a picture: its normalised embedding [E], or why it has none. */
export type Entry =
  | (Omit<PictureFile, 'name'> & { row: Float32Array })
  | (Omit<PictureFile, 'name'> & { error: string });
/** Pictures by their names in the folder. */
export type Entries = Map<string, Entry>;

/** What rows depend on besides the pictures. */
export type Maker = { name: string; dtype: string; hash: string };

export type SearchIndex = {
  /** The file; undefined until there is one. */
  path: string | undefined;
  entries: Entries;
  /** Why an index that is there is of no use. */
  refused: string | undefined;
  /** Writes `entries` as one file. Throws a UserError where neither the folder nor the cache takes it. */
  save(entries: Entries): Promise<void>;
};

/** Raised when another layout, other kinds of pictures or other pixels make old files useless. */
const FORMAT = 1;
const BYTES = 1 << 16; // of each tensor: training changes all of it
const LEFT_OVER = 60_000; // ms; younger drafts may be another process's

/** Which model it is, by its content: it stays the same where files are copied. */
export async function makerOf(from: ModelSource, name: string, options: FromPretrained): Promise<Maker> {
  const checkpoint = await openCheckpoint(from, options);
  try {
    const hash = await sha256();
    const encoder = new TextEncoder();
    for (const file of ['config.json', 'preprocessor_config.json', 'processor_config.json']) {
      hash.update(encoder.encode(`${file}\n${(await checkpoint.text(file)) ?? ''}\n`));
    }
    for (const { info, source } of checkpoint.tensors.values()) {
      hash.update(encoder.encode(`${info.name} ${info.dtype} [${info.shape}]\n`));
      hash.update(await source.read(info.begin, Math.min(BYTES, info.end - info.begin)));
    }
    const { dtype = 'f32' } = options;
    return { name, dtype: typeof dtype === 'string' ? dtype : JSON.stringify(dtype), hash: hash.hex() };
  } finally {
    await checkpoint.close();
  }
}

/** The index that `maker` has for a folder; without entries where there is none yet. */
export async function openIndex(folder: string, maker: Maker): Promise<SearchIndex> {
  const places = await placesOf(folder, maker);
  const index: SearchIndex = { path: undefined, entries: new Map(), refused: undefined, save };
  const age = async (place: string) => -((await statPath(place).catch(() => undefined))?.mtimeMs ?? 0);
  const ages = await Promise.all(places.map(async (place) => [await age(place), place] as const));
  for (const [, place] of ages.sort(([a], [b]) => a - b)) {
    try {
      const entries = await readIndex(place, maker);
      if (entries) return Object.assign(index, { path: place, entries, refused: undefined });
    } catch (error) {
      index.refused ??= asUserError(error, place, 'cannot be read').message;
    }
  }
  return index;

  async function save(entries: Entries): Promise<void> {
    let failure: unknown;
    for (const place of places) {
      try {
        await writeIndex(place, maker, entries);
        index.path = place;
        return;
      } catch (error) {
        failure ??= asUserError(error, place, 'cannot be written');
      }
    }
    throw failure;
  }
}

/** Where the index is looked for and written, in this order. Each name of a model has its own. */
async function placesOf(folder: string, { name, dtype }: Maker): Promise<string[]> {
  const { realpath } = await import('node:fs/promises');
  const file = [
    name.replace(/[^\w.-]+/g, '-').slice(-100),
    ...(dtype === 'f32' ? [] : [dtype.replace(/[^\w.-]+/g, '-')]),
  ].join('-');
  const hash = await sha256();
  hash.update(new TextEncoder().encode(await realpath(folder)));
  const beside = at(folder, `.tessera-search-${file}`);
  const inCache = async () => `${await userCache()}/search/${hash.hex().slice(0, 16)}-${file}`;
  return [
    beside,
    ...(await inCache().then(
      (path) => [path],
      () => [],
    )),
  ]; // without a home there is no cache
}

type Note = {
  format: number;
  model: Maker;
  files: [string, number, number][];
  failed: [string, number, number, string][];
};

/** Undefined when there is none. Throws a UserError when it is no index, a damaged one, or another model's. */
async function readIndex(path: string, maker: Maker): Promise<Entries | undefined> {
  if (!(await statPath(path))) return undefined;
  const source = await fromPath(path);
  try {
    const { tensors, metadata } = await readHeader(source);
    const note = parseObject(metadata.get('tessera') ?? '', path) as Note;
    const fail = (why: string): never => {
      throw new UserError(`[${path}] ${why}`);
    };
    if (note.format !== FORMAT || !isObject(note.model)) fail('is of another version of Tessera');
    const { hash, name, dtype } = note.model;
    if (name !== maker.name) fail(`was made by another model (${JSON.stringify(name)})`);
    if (hash !== maker.hash || dtype !== maker.dtype) fail(`was made by ${maker.name} with other weights or settings`);
    const rows = tensors.get('rows');
    const [N = 0, E = 0] = rows?.shape ?? [];
    const isWhole = rows?.dtype === 'F32' && rows.shape.length === 2 && note.files.length === N;
    if (!rows || !isWhole) return fail('is damaged');
    const bytes = await source.read(rows.begin, rows.end - rows.begin);
    const data = new Float32Array(bytes.buffer, bytes.byteOffset, N * E);
    const entries: Entries = new Map();
    for (const [i, [name, size, mtime]] of note.files.entries()) {
      entries.set(name, { size, mtime, row: data.subarray(i * E, (i + 1) * E) });
    }
    for (const [name, size, mtime, error] of note.failed) entries.set(name, { size, mtime, error });
    return entries;
  } finally {
    await source.close?.();
  }
}

async function writeIndex(path: string, model: Maker, entries: Entries): Promise<void> {
  const { dirname } = await import('node:path');
  await makeFolder(dirname(path));
  await sweep(path);
  const note: Note = { format: FORMAT, model, files: [], failed: [] };
  const rows: Float32Array[] = [];
  for (const [name, entry] of entries) {
    if ('error' in entry) note.failed.push([name, entry.size, entry.mtime, entry.error]);
    else {
      note.files.push([name, entry.size, entry.mtime]);
      rows.push(entry.row);
    }
  }
  const E = rows[0]?.length ?? 0;
  const data = new Float32Array(rows.length * E);
  for (const [i, row] of rows.entries()) data.set(row, i * E);
  const shape = [rows.length, E];
  await saveSafetensors(path, [['rows', { dtype: 'F32', shape }]], () => data, [['tessera', JSON.stringify(note)]]);
}

/** Takes away drafts of processes that were killed while they wrote. */
async function sweep(path: string): Promise<void> {
  const { readdir, rm, stat } = await import('node:fs/promises');
  const { basename, dirname } = await import('node:path');
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(`${basename(path)}.`) || !name.endsWith('.part')) continue;
    const draft = at(dirname(path), name);
    const found = await stat(draft).catch(() => undefined);
    if (found && Date.now() - found.mtimeMs > LEFT_OVER) await rm(draft, { force: true }).catch(() => {});
  }
}
