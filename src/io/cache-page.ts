// The cache of a page or its workers, in the browser's storage. A file is kept in parts, so that what a closed page had
// fetched is there when it comes back. In models--owner--name: blobs/<etag>/<part> and size, snapshots/<commit>/<file>,
// refs/<revision>, no_exist/<commit>/<file>.
import type { Cache, CachedModel, Draft } from './cache.ts';
import { UserError } from './error.ts';
import { openStore, type Store } from './page-store.ts';
import { fromBlob } from './source.ts';

const PREFIX = 'models--';
const FOLDER = 'tessera-hub';
const PART = 1 << 24; // at most so much is fetched again

export async function pageCache(folder = FOLDER): Promise<Cache> {
  const store = await openStore(folder);
  const modelOf = (repo: string) => PREFIX + repo.replaceAll('/', '--');
  const blobOf = (repo: string, etag: string) => `${modelOf(repo)}/blobs/${etag}`;
  const nameOf = (kind: string, repo: string, commit: string, file: string) =>
    `${modelOf(repo)}/${kind}/${commit}/${encodeURIComponent(file)}`;
  const refOf = (repo: string, revision: string) => `${modelOf(repo)}/refs/${encodeURIComponent(revision)}`;
  const text = async (name: string) => (await store.get(name))?.text();

  /** A blob whose size is noted is whole; the note is written last. */
  async function blob(repo: string, etag: string): Promise<Blob | undefined> {
    const size = await text(`${blobOf(repo, etag)}/size`);
    if (size === undefined) return undefined;
    const whole = new Blob(await parts(store, blobOf(repo, etag)));
    return whole.size === Number(size) ? whole : undefined;
  }

  return {
    commitOf: (repo, revision) => text(refOf(repo, revision)),

    async setCommit(repo, revision, commit) {
      if (revision === commit || (await text(refOf(repo, revision))) === commit) return;
      await store.put(refOf(repo, revision), commit).catch(() => {});
    },

    async open(repo, commit, file) {
      const etag = await text(nameOf('snapshots', repo, commit, file));
      const found = etag && (await blob(repo, etag));
      if (found) return fromBlob(found, file.split('/').at(-1));
      return (await store.get(nameOf('no_exist', repo, commit, file))) ? null : undefined;
    },

    setMissing: (repo, commit, file) => store.put(nameOf('no_exist', repo, commit, file), '').catch(() => {}),

    async files(repo, commit) {
      const found = await store.list(`${modelOf(repo)}/snapshots/${commit}`);
      return found.map(({ name }) => decodeURIComponent(name.split('/').at(-1)!)).sort();
    },

    async add({ repo, commit, file, content: { etag, size }, signal }, fill) {
      const place = blobOf(repo, etag);
      await navigator.storage?.persist?.().catch(() => false);
      const keep = async () => {
        if (!(await blob(repo, etag))) {
          const draft = await draftOf(store, place);
          try {
            await fill(draft);
          } finally {
            await draft.flush();
          }
          await store.put(`${place}/size`, String(draft.size));
        }
        await store.put(nameOf('snapshots', repo, commit, file), etag);
      };
      try {
        // one page at a time; the lock of a page that is closed goes with it
        await navigator.locks.request(`${folder}/${place}`, signal ? { signal } : {}, keep);
      } catch (error) {
        signal?.throwIfAborted();
        if ((error as Error).name !== 'QuotaExceededError') throw error;
        const room = size === undefined ? 'more room' : `room for ${size} bytes`;
        const text = `[hub] ${file}: got no more room from the browser, want ${room}; cache.delete(id) gives some back`;
        throw new UserError(text, { cause: error });
      }
    },

    async list() {
      const models = new Map<string, CachedModel>();
      const refs = new Map<string, string[]>();
      for (const { name, size } of await store.list('')) {
        const [folder = '', kind, commit_hash = '', file = ''] = name.split('/');
        const repo_id = folder.slice(PREFIX.length).replaceAll('--', '/');
        const model = models.get(folder) ?? { repo_id, size_on_disk: 0, revisions: [] };
        models.set(folder, model);
        model.size_on_disk += size;
        if (kind === 'refs') {
          const key = `${folder}/${await text(name)}`;
          refs.set(key, [...(refs.get(key) ?? []), decodeURIComponent(commit_hash)]);
        }
        if (kind !== 'snapshots') continue;
        const known = model.revisions.find((revision) => revision.commit_hash === commit_hash);
        const revision = known ?? { commit_hash, refs: [], files: [] };
        if (!known) model.revisions.push(revision);
        revision.files.push(decodeURIComponent(file));
      }
      for (const [folder, { revisions }] of models) {
        for (const revision of revisions) revision.refs = refs.get(`${folder}/${revision.commit_hash}`) ?? [];
      }
      return [...models.values()];
    },

    async delete(repo) {
      const found = await store.list(modelOf(repo));
      await store.delete(modelOf(repo));
      return found.length > 0;
    },
  };
}

/** The parts of a blob, as far as they follow each other without a gap. */
async function parts(store: Store, blob: string): Promise<Blob[]> {
  const found: Blob[] = [];
  for (let i = 0; ; i++) {
    const part = await store.get(`${blob}/${i}`);
    if (!part?.size) return found;
    found.push(part);
    if (part.size < PART) return found;
  }
}

/** Gathers bytes into parts; `flush` also keeps one that is not full. */
async function draftOf(store: Store, blob: string): Promise<Draft & { flush(): Promise<void> }> {
  let full = await parts(store, blob);
  const part = new Uint8Array(PART);
  let filled = 0;
  const last = full.at(-1);
  if (last && last.size < PART) {
    part.set(new Uint8Array(await last.arrayBuffer()));
    filled = last.size;
    full.pop();
  }
  const flush = async () => {
    if (filled === 0) return;
    await store.put(`${blob}/${full.length}`, part.slice(0, filled));
    if (filled < PART) return;
    full.push((await store.get(`${blob}/${full.length}`))!);
    filled = 0;
  };
  return {
    get size() {
      return full.length * PART + filled;
    },
    async *read() {
      for (const whole of full) yield new Uint8Array(await whole.arrayBuffer());
      if (filled > 0) yield part.slice(0, filled);
    },
    async append(bytes) {
      for (let done = 0; done < bytes.length; ) {
        const some = bytes.subarray(done, done + PART - filled);
        part.set(some, filled);
        filled += some.length;
        done += some.length;
        if (filled === PART) await flush();
      }
    },
    async restart() {
      full = [];
      filled = 0;
      await store.delete(blob);
    },
    flush,
  };
}
