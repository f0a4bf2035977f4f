// Fetches a model in any runtime: what its files are, as they lie in the cache afterwards. No GPU.
import { cache } from '../../src/io/cache.ts';
import { sha256 } from '../../src/io/hash.ts';
import { type HubOptions, hubFolder } from '../../src/io/hub-folder.ts';

export type Fetched = { files: Record<string, string>; events: string[] };

/** The sha256 of each of `files` after it was fetched; what is missing has none. */
export async function fetchAll(repo: string, files: readonly string[], options: HubOptions): Promise<Fetched> {
  const events: string[] = [];
  const progress_callback: HubOptions['progress_callback'] = (event) => {
    if (event.status !== 'progress' || events.at(-1) !== 'progress') events.push(event.status);
  };
  const folder = await hubFolder(repo, { ...options, progress_callback });
  const found: Fetched = { files: {}, events };
  for (const name of files) {
    const source = await folder.open(name);
    if (!source) continue;
    await source.fetch?.();
    const hash = await sha256();
    for (let at = 0; at < source.size; at += 1 << 20) {
      hash.update(await source.read(at, Math.min(1 << 20, source.size - at)));
    }
    await source.close?.();
    found.files[name] = hash.hex();
  }
  return found;
}

export type Wish = { repo: string; files: string[]; options: HubOptions; without?: 'opfs'; forget?: boolean };

/** Runs in a bundle, see tests/runtimes. `without`: in a page that has no private file system. */
export async function main({ repo, files, options, without, forget }: Wish): Promise<unknown> {
  if (without === 'opfs') Object.assign(navigator.storage, { getDirectory: undefined });
  const fetched = await fetchAll(repo, files, options);
  const kept = await cache.list(options);
  const gone = forget ? await cache.delete(repo, options) : undefined;
  return { ...fetched, kept, gone, left: (await cache.list(options)).length };
}
