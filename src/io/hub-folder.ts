// A model of the hub as a folder: what is read of it is fetched and kept. Weights are fetched when all of them is asked for
// (`fetch`); until then their headers are read by range, so that what does not fit is known before gigabytes have come.
import { openCache } from './cache.ts';
import { download, type LoadOptions } from './download.ts';
import { UserError } from './error.ts';
import { type Content, connect, HubError, type Patience } from './hub.ts';
import { endpointOf, isOffline, tokenOf } from './hub-env.ts';
import { type ByteSource, baseName, checked, type Folder, plainPath, withText } from './source.ts';

export type HubOptions = LoadOptions & {
  /** A branch, a tag or a commit of the model. Default: main. */
  revision?: string | undefined;
  /** Only what the cache has, as with HF_HUB_OFFLINE=1. */
  local_files_only?: boolean | undefined;
  /** Where files are kept. Default: as in Python (HF_HUB_CACHE, HF_HOME); in a page, a folder of its storage. */
  cache_dir?: string | undefined;
  /** For private and gated models. Default: HF_TOKEN, or the file that `hf auth login` writes; false: none. */
  token?: string | false | undefined;
  /** The address of the hub. Default: HF_ENDPOINT, or huggingface.co. */
  endpoint?: string | undefined;
  /** How long to wait for it. */
  patience?: Patience | undefined;
};

const COMMIT = /^[0-9a-f]{40}$/;
const HEAD = 1 << 18; // most headers fit in it

/** The folder of `repo` at one commit. Throws a UserError when neither the hub nor the cache has it. */
export async function hubFolder(repo: string, options: HubOptions = {}): Promise<Folder> {
  const { revision = 'main', signal, progress_callback } = options;
  plainPath(revision, 'hub');
  const cache = await openCache(options.cache_dir);
  const connection = { ...options, endpoint: endpointOf(options.endpoint), token: await tokenOf(options.token) };
  const remote = connect(repo, connection);

  /** The commit that is meant, and the names of its files when the hub could be asked. */
  async function pin(): Promise<{ commit: string; names?: ReadonlySet<string> }> {
    const kept = COMMIT.test(revision) ? revision : await cache.commitOf(repo, revision);
    const hasIt = kept !== undefined && (await cache.files(repo, kept)).length > 0;
    if (!options.local_files_only && !isOffline()) {
      try {
        const { commit, files } = await remote.list(revision, hasIt ? 1 : 3);
        return { commit, names: new Set(files.keys()) };
      } catch (error) {
        if (!hasIt || !(error instanceof HubError) || error.noRevision) throw error;
      }
    }
    if (hasIt) return { commit: kept };
    const want = 'it fetched once; HF_HUB_OFFLINE or local_files_only is on';
    throw new UserError(
      `[hub] ${repo}: got nothing of revision ${JSON.stringify(revision)} in the cache, want ${want}`,
    );
  }

  const { commit, names } = await pin();

  async function keep(file: string, content: Content): Promise<ByteSource> {
    await cache.add({ repo, commit, file, content, signal }, async (draft) => {
      const event = (status: 'progress' | 'done', loaded: number, total: number) =>
        progress_callback?.({
          status,
          name: repo,
          file,
          loaded,
          total,
          progress: total ? (100 * loaded) / total : 100,
        });
      progress_callback?.({ status: 'download', name: repo, file });
      await download(remote, commit, file, content, draft, (loaded, total) => event('progress', loaded, total));
      event('done', draft.size, draft.size);
    });
    await cache.setCommit(repo, revision, commit);
    const kept = await cache.open(repo, commit, file);
    if (kept) return kept;
    throw new UserError(`[hub] ${repo}: ${file} is gone from the cache: is something else deleting there?`);
  }

  /** A file that is read over the network until it is fetched. */
  function far(file: string, content: Content, size: number): ByteSource {
    let near: ByteSource | undefined;
    let head: Uint8Array | undefined;
    async function range(from: number, length: number): Promise<Uint8Array> {
      const bytes = new Uint8Array(length);
      for await (const chunk of remote.stream(commit, file, size, from, from + length)) {
        const skipped = Math.max(0, from - chunk.at); // where the server gave all from the start
        if (skipped < chunk.bytes.length) bytes.set(chunk.bytes.subarray(skipped), chunk.at + skipped - from);
      }
      return bytes;
    }
    async function read(from: number, length: number): Promise<Uint8Array> {
      if (near) return near.read(from, length);
      if (from + length > HEAD) return range(from, length);
      head ??= await range(0, HEAD);
      return head.slice(from, from + length);
    }
    return {
      ...checked(baseName(file), size, read, async () => near?.close?.()),
      get identity() {
        return near?.identity;
      },
      async fetch() {
        near ??= await keep(file, content);
      },
    };
  }

  async function open(file: string): Promise<ByteSource | undefined> {
    const kept = await cache.open(repo, commit, file);
    if (kept !== undefined || !names) return kept ?? undefined;
    const content = names.has(file) ? await remote.describe(commit, file) : undefined;
    if (!content) {
      await cache.setMissing(repo, commit, file);
      await cache.setCommit(repo, revision, commit);
      return undefined;
    }
    const isFar = file.endsWith('.safetensors') && (content.size ?? 0) > HEAD;
    return isFar ? far(file, content, content.size!) : keep(file, content);
  }

  const at = (prefix: string): Folder =>
    withText({
      name: `${repo}${prefix && `/${prefix.slice(0, -1)}`}${names ? '' : ' (offline)'}`,
      async list() {
        const all = [...(names ?? (await cache.files(repo, commit)))].filter((name) => name.startsWith(prefix));
        return all.map((name) => name.slice(prefix.length)).filter((name) => !name.includes('/'));
      },
      open: (file) => open(prefix + plainPath(file, repo)),
      at: (folder) => at(`${prefix}${plainPath(folder, repo)}/`),
    });
  return at('');
}
