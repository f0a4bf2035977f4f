// Where a page keeps data under names: the origin's private file system, or Cache Storage where that is not to be had.
import { asUserError } from './error.ts';

/** Named data, with `/` in the names. `put` replaces an entry as a whole. `list`: below a name, or all with ''. */
export type Store = {
  get(name: string): Promise<Blob | undefined>;
  put(name: string, data: string | Uint8Array<ArrayBuffer>): Promise<void>;
  list(below: string): Promise<{ name: string; size: number }[]>;
  delete(below: string): Promise<void>;
};

/** The store called `folder`. Throws a UserError where a page has none. */
export const openStore = async (folder: string): Promise<Store> =>
  (await privateFiles(folder)) ?? (await cacheStorage(folder));

/** The origin private file system; undefined where there is none, or none that a page may write. */
async function privateFiles(folder: string): Promise<Store | undefined> {
  if (!globalThis.FileSystemFileHandle?.prototype.createWritable) return undefined;
  const root = await navigator.storage
    ?.getDirectory?.()
    .then((top) => top.getDirectoryHandle(folder, { create: true }))
    .catch(() => undefined); // a private window
  if (!root) return undefined;

  /** The folder that `name` is in, and its last part. */
  async function open(name: string, create: boolean): Promise<[FileSystemDirectoryHandle, string]> {
    const parts = name.split('/');
    let at = root!;
    for (const part of parts.slice(0, -1)) at = await at.getDirectoryHandle(part, { create });
    return [at, parts.at(-1)!];
  }
  const absent = (error: DOMException): undefined => {
    if (error.name !== 'NotFoundError' && error.name !== 'TypeMismatchError') throw error;
  };

  async function walk(at: FileSystemDirectoryHandle, prefix: string): Promise<{ name: string; size: number }[]> {
    const found: { name: string; size: number }[] = [];
    for await (const [name, handle] of at.entries()) {
      const full = `${prefix}${name}`;
      if (handle instanceof FileSystemDirectoryHandle) found.push(...(await walk(handle, `${full}/`)));
      else found.push({ name: full, size: (await (handle as FileSystemFileHandle).getFile()).size });
    }
    return found;
  }

  return {
    async get(name) {
      const file = open(name, false).then(async ([at, last]) => (await at.getFileHandle(last)).getFile());
      return file.catch(absent);
    },
    async put(name, data) {
      const [at, last] = await open(name, true);
      const writer = await (await at.getFileHandle(last, { create: true })).createWritable();
      await writer.write(data);
      await writer.close();
    },
    async list(below) {
      if (below === '') return walk(root, '');
      const folder = open(below, false).then(([at, last]) => at.getDirectoryHandle(last));
      const found = await folder.catch(absent);
      return found ? walk(found, `${below}/`) : [];
    },
    async delete(below) {
      const removed = open(below, false).then(([at, last]) => at.removeEntry(last, { recursive: true }));
      await removed.catch(absent);
    },
  };
}

/** Cache Storage, with addresses for names. */
async function cacheStorage(folder: string): Promise<Store> {
  const cache = await Promise.resolve()
    .then(() => caches.open(folder))
    .catch((error) => {
      throw asUserError(error, 'hub', 'this page has nowhere to keep files (want https, or http://localhost)');
    });
  const root = 'https://tessera.invalid/';
  const names = async (below: string) => {
    const all = (await cache.keys()).map(({ url }) => url.slice(root.length));
    return all.filter((name) => below === '' || name.startsWith(`${below}/`));
  };
  const get = async (name: string) => (await cache.match(root + name))?.blob();
  return {
    get,
    put: (name, data) => cache.put(root + name, new Response(data)),
    list: async (below) =>
      Promise.all((await names(below)).map(async (name) => ({ name, size: (await get(name))?.size ?? 0 }))),
    delete: async (below) => void (await Promise.all((await names(below)).map((name) => cache.delete(root + name)))),
  };
}
