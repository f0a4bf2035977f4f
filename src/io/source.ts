// Bytes by position, and folders of files, wherever they are: on disk (Node, Deno, Bun), in a page's File objects, in memory.
// node:fs is imported only when a path is opened.
import { asUserError, explain, UserError } from './error.ts';

/** Random access to bytes. `read` gives exactly `length` bytes or throws a UserError, never fewer. */
export type ByteSource = {
  name: string;
  size: number;
  /** The same text for the same bytes, wherever it can be known without reading them. */
  readonly identity?: string | undefined;
  read(offset: number, length: number): Promise<Uint8Array>;
  /** For a file that is far away: brings all of it near, after which reads are quick. */
  fetch?(): Promise<void>;
  close?(): Promise<void>;
};

/** One folder of files. Names are relative, with `/`; a file that is not there is `undefined`. */
export type Folder = {
  name: string;
  /** Names of the files directly inside, sorted. */
  list(): Promise<string[]>;
  open(file: string): Promise<ByteSource | undefined>;
  text(file: string): Promise<string | undefined>;
  /** The sub-folder `folder`, whether it exists or not. */
  at(folder: string): Folder;
};

/** Longest single read from a file: below the 2 GiB limit of a read call. */
const MAX_READ = 2 ** 30;
/** Text files (configs, tokenizers, templates) are far smaller; a weight file opened as text is not. */
const MAX_TEXT = 2 ** 28;

type Found = {
  isFile(): boolean;
  isDirectory(): boolean;
  isCharacterDevice(): boolean;
  size: number;
  mtimeMs: number;
};

/** What is at a path on disk; undefined where nothing is. Throws a UserError where that cannot be known, as without permission. */
export async function statPath(path: string): Promise<Found | undefined> {
  const { stat } = await import('node:fs/promises');
  return stat(path).catch((error) => {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.code)) return undefined;
    throw asUserError(error, path, 'cannot be read');
  });
}

/** Opens a file on disk. Positional reads share one handle, so they may overlap in time. */
export async function fromPath(path: string): Promise<ByteSource> {
  const { open } = await import('node:fs/promises');
  const name = baseName(path);
  const handle = await explain(path, 'cannot be opened', () => open(path, 'r'));
  const stat = await handle.stat();
  if (!stat.isFile()) {
    await handle.close();
    throw new UserError(`[${path}] is not a file: want a path of a file here`);
  }
  const source = checked(
    name,
    stat.size,
    async (offset, length) => {
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const part = Math.min(length - done, MAX_READ);
        const { bytesRead } = await explain(name, 'cannot be read', () =>
          handle.read(bytes, done, part, offset + done),
        );
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return bytes.subarray(0, done);
    },
    () => handle.close(),
  );
  return { ...source, identity: [stat.dev, stat.ino, stat.size, stat.mtimeMs].join(':') };
}

/** A Blob or File of a page; also the lazy Blob of a remote file, whose slices are range requests. */
export function fromBlob(blob: Blob, name = (blob as Partial<File>).name ?? 'blob'): ByteSource {
  const source = checked(name, blob.size, async (offset, length) => {
    const part = blob.slice(offset, offset + length);
    return new Uint8Array(await explain(name, 'cannot be read', () => part.arrayBuffer()));
  });
  if (!blobs.has(blob)) blobs.set(blob, `blob ${++lastBlob}`);
  return { ...source, identity: blobs.get(blob) };
}
const blobs = new WeakMap<Blob, string>();
let lastBlob = 0;

/** Bytes already in memory; what `read` gives is a copy. */
export function fromBytes(bytes: Uint8Array, name = 'bytes'): ByteSource {
  return checked(name, bytes.byteLength, async (offset, length) => bytes.slice(offset, offset + length));
}

/** Adds to a reader the checks that every source makes: the range before, the count after. */
export function checked(
  name: string,
  size: number,
  read: (offset: number, length: number) => Promise<Uint8Array>,
  close?: () => Promise<void>,
): ByteSource {
  let open = true;
  return {
    name,
    size,
    async read(offset, length) {
      if (!open) throw new Error(`[${name}] read after close`);
      if (!(Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0)) {
        throw new Error(`[${name}] read: got offset ${offset}, length ${length}, want integers >= 0`);
      }
      const got = offset + length <= size ? await read(offset, length) : undefined;
      if (got?.byteLength === length) return got;
      const available = got ? offset + got.byteLength : size;
      throw new UserError(
        `[${name}] the file is too short: got ${available} bytes, want ${offset + length}. ` +
          'Was it cut off, or changed while it was read? Get the file again.',
      );
    },
    async close() {
      if (open) await close?.();
      open = false;
    },
  };
}

/** A folder on disk. Links are followed, as the hub's cache is made of them. */
export function diskFolder(path: string): Folder {
  const full = (file: string) => `${path}/${plainPath(file, path)}`;
  return withText({
    name: baseName(path),
    async list() {
      const { readdir } = await import('node:fs/promises');
      if (!(await statPath(path))?.isDirectory()) throw new UserError(`[${path}] no such folder`);
      const entries = await explain(path, 'cannot be listed', () => readdir(path, { withFileTypes: true }));
      return entries
        .filter((entry) => !entry.isDirectory())
        .map((entry) => entry.name)
        .sort();
    },
    async open(file) {
      const found = await statPath(full(file));
      return found?.isFile() ? fromPath(full(file)) : undefined;
    },
    at: (folder) => diskFolder(full(folder)),
  });
}

/** Files given by hand in a page: one by one, or a whole folder by `<input webkitdirectory>`. */
export function fileFolder(files: Iterable<Blob>, name?: string): Folder {
  const all = [...files];
  const paths = all.map(
    (file, i) => (file as Partial<File>).webkitRelativePath || (file as Partial<File>).name || `blob-${i}`,
  );
  const root = paths[0]?.split('/')[0] ?? '';
  const nested = paths.length > 0 && paths.every((path) => path.startsWith(`${root}/`));
  const entries = new Map<string, () => ByteSource>();
  all.forEach((file, i) => {
    const path = nested ? paths[i]!.slice(root.length + 1) : paths[i]!;
    if (entries.has(path)) throw new UserError(`[${path}] given twice: want each file once`);
    entries.set(path, () => fromBlob(file, path));
  });
  return mapFolder(entries, name ?? (nested ? root : 'files'));
}

/** Files in memory: name -> bytes or text. */
export function memoryFolder(files: Iterable<readonly [string, Uint8Array | string]>, name = 'memory'): Folder {
  const entries = new Map<string, () => ByteSource>();
  for (const [path, content] of files) {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    entries.set(path, () => fromBytes(bytes, path));
  }
  return mapFolder(entries, name);
}

function mapFolder(entries: Map<string, () => ByteSource>, name: string, prefix = ''): Folder {
  return withText({
    name,
    async list() {
      const inside = [...entries.keys()]
        .filter((path) => path.startsWith(prefix))
        .map((path) => path.slice(prefix.length));
      return inside.filter((path) => !path.includes('/')).sort();
    },
    open: async (file) => entries.get(prefix + plainPath(file, name))?.(),
    at: (folder) => mapFolder(entries, baseName(folder), `${prefix}${plainPath(folder, name)}/`),
  });
}

/** A folder that reads texts by opening them. */
export function withText(folder: Omit<Folder, 'text'>): Folder {
  return {
    ...folder,
    async text(file) {
      const source = await folder.open(file);
      if (!source) return undefined;
      try {
        if (source.size > MAX_TEXT)
          throw new UserError(`[${file}] too large for a text file: got ${source.size} bytes`);
        return decodeText(await source.read(0, source.size), file);
      } finally {
        await source.close?.();
      }
    },
  };
}

/** UTF-8 bytes as text (a byte order mark is dropped); a UserError when they are not UTF-8. */
export function decodeText(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UserError(`[${where}] is not text: want UTF-8`);
  }
}

/** `path` if it stays inside its folder; names come from index files, which are not trusted. */
export function plainPath(path: string, where: string): string {
  const parts = String(path).split('/');
  const safe =
    typeof path === 'string' &&
    !/[\\:\0]/.test(path) &&
    parts.every((part) => part !== '' && part !== '.' && part !== '..');
  if (!safe) throw new UserError(`[${where}] not a file name inside the folder: ${JSON.stringify(String(path))}`);
  return path;
}

/** The last part of a path, with either slash. */
export function baseName(path: string): string {
  return (
    path
      .replace(/[\\/]+$/, '')
      .split(/[\\/]/)
      .at(-1) || path
  );
}
