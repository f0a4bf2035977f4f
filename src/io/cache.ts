// What is kept of the hub: files on disk in Python's layout (Node, Deno, Bun), or the storage of a page.
import type { Content } from './hub.ts';
import type { ByteSource } from './source.ts';

/** A file on its way. It survives the end of its process or page and goes on where it was. */
export type Draft = {
  /** Bytes that are there. */
  readonly size: number;
  /** Those bytes, in pieces. */
  read(): AsyncIterable<Uint8Array>;
  append(bytes: Uint8Array): Promise<void>;
  /** Forgets them. */
  restart(): Promise<void>;
};

/** A model that is kept, with the names of Python's scan_cache_dir. */
export type CachedModel = {
  repo_id: string;
  /** Bytes, unfinished downloads included. */
  size_on_disk: number;
  revisions: { commit_hash: string; refs: string[]; files: string[] }[];
};

export type Cache = {
  /** The commit that a branch or tag was at when it was last asked for. */
  commitOf(repo: string, revision: string): Promise<string | undefined>;
  /** Remembers it; a cache that can not be written stays as it is. */
  setCommit(repo: string, revision: string, commit: string): Promise<void>;
  /** A file that is kept; null when it is known that there is none. */
  open(repo: string, commit: string, file: string): Promise<ByteSource | null | undefined>;
  /** Remembers that there is no such file; a cache that can not be written stays as it is. */
  setMissing(repo: string, commit: string, file: string): Promise<void>;
  /** Names of the files that are kept. */
  files(repo: string, commit: string): Promise<string[]>;
  /** Keeps a file: `fill` writes what the draft lacks of it, unless its content is there already. */
  add(entry: Entry, fill: (draft: Draft) => Promise<void>): Promise<void>;
  list(): Promise<CachedModel[]>;
  /** Whether there was anything of it. */
  delete(repo: string): Promise<boolean>;
};

export type Entry = {
  repo: string;
  commit: string;
  file: string;
  content: Content;
  signal?: AbortSignal | undefined;
};

/** The cache of this runtime. `folder`: another than the usual one; in a page, the name of a folder in its storage. */
export async function openCache(folder?: string): Promise<Cache> {
  if (globalThis.process?.versions?.node) return (await import('./cache-disk.ts')).diskCache(folder);
  return (await import('./cache-page.ts')).pageCache(folder);
}

/** The models that are kept of the hub: `await cache.list()`, `await cache.delete('openai/clip-vit-large-patch14')`. */
export const cache = {
  list: async ({ cache_dir }: { cache_dir?: string } = {}) => (await openCache(cache_dir)).list(),
  delete: async (repo_id: string, { cache_dir }: { cache_dir?: string } = {}) =>
    (await openCache(cache_dir)).delete(repo_id),
};
