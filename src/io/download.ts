// A file of the hub into a cache: what an earlier try left counts, the rest is fetched, and the whole has the promised hash.
import type { Draft } from './cache.ts';
import { UserError } from './error.ts';
import { gitBlob, sha256 } from './hash.ts';
import type { Content, Remote } from './hub.ts';

/**
 * As transformers.js reports it; `progress` in percent, `loaded` and `total` in bytes. A file of the hub that is not kept yet
 * gives 'download', 'progress' and 'done'; then comes 'initiate', 'progress' of all weights, and 'ready'.
 */
export type Progress =
  | { status: 'initiate' | 'ready'; name: string }
  | { status: 'download'; name: string; file: string }
  | { status: 'progress' | 'done'; name: string; file: string; loaded: number; total: number; progress: number };

export type LoadOptions = {
  progress_callback?: ((event: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
};

/** `loaded` of `total` bytes, those of earlier tries included. */
export type Report = (loaded: number, total: number) => void;

/** Fills `draft`. Throws a UserError when the bytes are not what the hub promised, twice from the start. */
export async function download(
  remote: Remote,
  commit: string,
  file: string,
  { etag, size }: Content,
  draft: Draft,
  report: Report,
): Promise<void> {
  let got = '';
  for (let whole = 0; whole < 2; ) {
    if (got || draft.size > (size ?? Infinity)) await draft.restart();
    if (draft.size === 0) whole++; // what was wrong may have come earlier
    const begin = async () => (/^[0-9a-f]{64}$/.test(etag) ? sha256() : undefined);
    let hash = await begin();
    if (hash) for await (const bytes of draft.read()) hash.update(bytes);
    for await (const { at, bytes } of remote.stream(commit, file, size, draft.size)) {
      if (at !== draft.size) {
        await draft.restart();
        hash = await begin();
      }
      await draft.append(bytes);
      hash?.update(bytes);
      report(draft.size, size ?? draft.size);
    }
    got = hash ? hash.hex() : /^[0-9a-f]{40}$/.test(etag) ? await gitBlob(await all(draft)) : etag;
    if (got === etag) return;
  }
  throw new UserError(
    `[hub] ${file}: the bytes of ${remote.host} are not what it promised: got hash ${got}, want ${etag}. Try again later.`,
  );
}

async function all(draft: Draft): Promise<Uint8Array> {
  const whole = new Uint8Array(draft.size);
  let at = 0;
  for await (const bytes of draft.read()) {
    whole.set(bytes, at);
    at += bytes.length;
  }
  return whole;
}
