// The cache of Python's huggingface_hub on disk, so that each finds what the other has fetched (Node, Deno, Bun). In
// models--owner--name: blobs/<etag>, snapshots/<commit>/<file> -> ../../blobs/<etag>, refs/<revision>, .no_exist/<commit>/<file>.
import { makeFolder } from '../gpu/make-folder.ts';
import type { Cache, CachedModel, Draft } from './cache.ts';
import { UserError } from './error.ts';
import { pause } from './hub.ts';
import { cacheFolder, hasLinks } from './hub-env.ts';
import { fromPath } from './source.ts';

const PREFIX = 'models--';
/** A draft that has not grown for so long (ms) has nobody at work on it. */
const QUIET = 2000;
const PIECE = 1 << 20;
const TAG =
  'Signature: 8a477f597d28d172789f06886806bc55\n# A cache of the Hugging Face hub: backups may leave it out.\n';

export async function diskCache(folder?: string): Promise<Cache> {
  const fs = await import('node:fs/promises');
  const path = await import('node:path');
  const root = path.resolve(folder ?? (await cacheFolder()));
  const modelOf = (repo: string) => path.join(root, PREFIX + repo.replaceAll('/', '--'));
  const pointerOf = (repo: string, commit: string, file: string) => path.join(modelOf(repo), 'snapshots', commit, file);
  const missingOf = (repo: string, commit: string, file: string) => path.join(modelOf(repo), '.no_exist', commit, file);

  const sizeOf = async (file: string) => {
    const found = await fs.stat(file).catch(() => undefined);
    return found?.isFile() ? found.size : undefined;
  };
  const isWhole = async (file: string, size: number | undefined) => {
    const found = await sizeOf(file);
    return found !== undefined && found === (size ?? found);
  };
  const isBusy = async (draft: string) => {
    const found = await fs.stat(draft).catch(() => undefined);
    return found !== undefined && Math.abs(Date.now() - found.mtimeMs) < QUIET;
  };
  const commitOf = async (repo: string, revision: string) => {
    const text = await fs.readFile(path.join(modelOf(repo), 'refs', revision), 'utf8').catch(() => '');
    return text.trim() || undefined;
  };
  const remove = (file: string) => fs.rm(file, { force: true, recursive: true });

  /** Puts a file in its place at once: made under a name of its own, then renamed. */
  async function place(target: string, make: (draft: string) => Promise<void>): Promise<void> {
    const draft = `${target}.${crypto.randomUUID().slice(0, 8)}.tmp`;
    try {
      await make(draft);
      await fs.rename(draft, target);
    } catch (error) {
      await remove(draft);
      throw error;
    }
  }

  /**
   * Processes may write one draft at the same time: each writes in order, from a place before which all is there, the
   * bytes of one content, and trusts its own hash of them. So it is never cut shorter than that content, and there is no
   * lock that a killed process could leave. They only wait for each other so as not to fetch twice.
   */
  async function fetchBlob(blob: string, size: number | undefined, fill: Fill, signal?: AbortSignal): Promise<void> {
    const place = `${blob}.incomplete`;
    while (await isBusy(place)) await pause(100, signal);
    if (await isWhole(blob, size)) return;
    const handle = await fs.open(place, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o666);
    try {
      const draft = draftOf(handle, (await handle.stat()).size);
      await fill(draft);
      if ((await handle.stat()).size > draft.size) await handle.truncate(draft.size);
      await handle.sync();
    } catch (error) {
      await handle.utimes(0, 0).catch(() => {}); // nobody needs to wait
      throw error;
    } finally {
      await handle.close();
    }
    await fs.rename(place, blob).catch(async (error) => {
      if (!(await isWhole(blob, size))) throw error; // another process was first
    });
  }

  async function link(blob: string, pointer: string, isNew: boolean): Promise<void> {
    const target = path.relative(path.dirname(pointer), blob);
    if (hasLinks()) {
      const linked = place(pointer, (draft) => fs.symlink(target, draft)).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOSPC' || error.code === 'EROFS') throw error;
          return false; // links are not for everybody on Windows
        },
      );
      if (await linked) return;
    }
    if (isNew) await fs.rename(blob, pointer);
    else await place(pointer, (draft) => fs.copyFile(blob, draft));
  }

  /** Names of the files below a folder, with `/`; none where there is no folder. */
  async function walk(folder: string, prefix = ''): Promise<string[]> {
    const entries = await fs.readdir(folder, { withFileTypes: true }).catch(() => []);
    const names = entries.map((entry) =>
      entry.isDirectory() ? walk(path.join(folder, entry.name), `${prefix}${entry.name}/`) : [prefix + entry.name],
    );
    return (await Promise.all(names)).flat().sort();
  }

  async function describe(name: string): Promise<CachedModel> {
    const folder = path.join(root, name);
    const refs = new Map<string, string>();
    for (const ref of await walk(path.join(folder, 'refs'))) {
      refs.set(ref, (await fs.readFile(path.join(folder, 'refs', ref), 'utf8')).trim());
    }
    const commits = await fs.readdir(path.join(folder, 'snapshots')).catch(() => []);
    const revisions = commits.sort().map(async (commit_hash) => ({
      commit_hash,
      refs: [...refs].filter(([, commit]) => commit === commit_hash).map(([ref]) => ref),
      files: await walk(path.join(folder, 'snapshots', commit_hash)),
    }));
    const sizes = (await walk(folder)).map(async (file) => {
      const found = await fs.lstat(path.join(folder, file)).catch(() => undefined);
      return found && !found.isSymbolicLink() ? found.size : 0;
    });
    return {
      repo_id: name.slice(PREFIX.length).replaceAll('--', '/'),
      size_on_disk: (await Promise.all(sizes)).reduce((a, b) => a + b, 0),
      revisions: await Promise.all(revisions),
    };
  }

  return {
    commitOf,

    async setCommit(repo, revision, commit) {
      if (revision === commit || (await commitOf(repo, revision)) === commit) return;
      const ref = path.join(modelOf(repo), 'refs', revision);
      await makeFolder(path.dirname(ref))
        .then(() => place(ref, (draft) => fs.writeFile(draft, commit)))
        .catch(() => {});
    },

    async open(repo, commit, file) {
      const pointer = pointerOf(repo, commit, file);
      if ((await sizeOf(pointer)) !== undefined) return fromPath(pointer);
      return (await sizeOf(missingOf(repo, commit, file))) === undefined ? undefined : null;
    },

    async setMissing(repo, commit, file) {
      const note = missingOf(repo, commit, file);
      await makeFolder(path.dirname(note))
        .then(() => fs.writeFile(note, ''))
        .catch(() => {});
    },

    files: (repo, commit) => walk(path.join(modelOf(repo), 'snapshots', commit)),

    async add({ repo, commit, file, content: { etag, size }, signal }, fill) {
      const blob = path.join(modelOf(repo), 'blobs', etag);
      const pointer = pointerOf(repo, commit, file);
      try {
        for (const place of [blob, pointer]) await makeFolder(path.dirname(place));
        await fs.writeFile(path.join(root, 'CACHEDIR.TAG'), TAG, { flag: 'wx' }).catch(() => {});
        const isNew = !(await isWhole(blob, size));
        if (isNew) await fetchBlob(blob, size, fill, signal);
        await link(blob, pointer, isNew);
      } catch (error) {
        throw explained(error, file, root, size);
      }
    },

    async list() {
      const names = (await fs.readdir(root).catch(() => [])).filter((name) => name.startsWith(PREFIX));
      return Promise.all(names.sort().map(describe));
    },

    async delete(repo) {
      const folder = modelOf(repo);
      const found = await fs.stat(folder).catch(() => undefined);
      await remove(folder);
      await remove(path.join(root, '.locks', path.basename(folder)));
      return found !== undefined;
    },
  };
}

type Fill = (draft: Draft) => Promise<void>;
type Handle = Awaited<ReturnType<typeof import('node:fs/promises')['open']>>;

function draftOf(handle: Handle, there: number): Draft {
  let size = there;
  return {
    get size() {
      return size;
    },
    async *read() {
      const piece = new Uint8Array(PIECE);
      for (let at = 0; at < size; ) {
        const { bytesRead } = await handle.read(piece, 0, Math.min(PIECE, size - at), at);
        if (bytesRead === 0) size = at;
        yield piece.subarray(0, bytesRead);
        at += bytesRead;
      }
    },
    async append(bytes) {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, size);
        done += bytesWritten;
        size += bytesWritten;
      }
    },
    async restart() {
      size = 0;
    },
  };
}

/** What the file system refuses is the user's to know. */
function explained(error: unknown, file: string, root: string, size: number | undefined): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof UserError || !code || !syscall) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const room = size === undefined ? 'more room' : `room for its ${size} bytes`;
    const text = `[hub] ${file}: got a full disk (${code}), want ${room} in ${root}. What came is kept; HF_HUB_CACHE names another place.`;
    return new UserError(text, { cause: error });
  }
  const want = 'a folder that can be written, in HF_HUB_CACHE or cache_dir';
  return new UserError(`[hub] ${file}: cannot be kept in ${root}: got ${code} (${syscall}), want ${want}`, {
    cause: error,
  });
}
