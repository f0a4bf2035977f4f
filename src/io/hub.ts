// The protocol of the Hugging Face hub over plain fetch: which files a model has, what each is, and their bytes. Runs in
// every runtime and keeps nothing. The headers and error codes that count are those of huggingface_hub's file_download.py.
import { reasonOf, UserError } from './error.ts';
import { isObject, parseObject } from './json.ts';

/** What is in a file: `etag` is its sha256, or the id of its git blob where it is not in LFS. */
export type Content = { etag: string; size: number | undefined };
/** The files of a model at one commit. */
export type Listing = { commit: string; files: Map<string, Content | undefined> };
/** Some bytes of a file and where they belong. */
export type Chunk = { at: number; bytes: Uint8Array };

/** One model on a hub. Everything throws a HubError, or the signal's reason. */
export type Remote = {
  host: string;
  /** `tries`: how often, where the hub gives no answer. */
  list(revision: string, tries?: number): Promise<Listing>;
  /** What is in a file; undefined when there is no such file. */
  describe(commit: string, file: string): Promise<Content | undefined>;
  /**
   * Bytes `from` to `to` of a file, in order. After a cut connection or a busy server it goes on where it was; where a
   * server gives no ranges, `at` falls back to 0.
   */
  stream(commit: string, file: string, size: number | undefined, from?: number, to?: number): AsyncGenerator<Chunk>;
};

export type Connection = {
  endpoint: string;
  token?: string | undefined;
  signal?: AbortSignal | undefined;
  patience?: Patience | undefined;
};

/** Milliseconds: for an answer, for the next byte of a body, before a second try (doubled for each more). */
export type Patience = { answer: number; stall: number; wait: number };

const PATIENCE: Patience = { answer: 10_000, stall: 30_000, wait: 500 };
const TRIES = 5;
const LONGEST_WAIT = 60_000;
const MAX_HOPS = 10;
const REDIRECTS = [301, 302, 303, 307, 308];
const BUSY = [408, 429, 500, 502, 503, 504];

export class HubError extends UserError {
  /** The same request may succeed later, after `wait` ms if the server said so. */
  again = false;
  wait = 0;
  /** There is the model, and not this revision of it: what a cache has under its name is no answer. */
  noRevision = false;
}

type Request = { method?: 'GET' | 'HEAD'; range?: string; revision?: string };
/** `feed`: the next byte may take its time again. `rest`: none is waited for. `close`: no more of it. */
type Answer = { response: Response; feed(): void; rest(): void; close(): void };

export function connect(repo: string, { endpoint, token, signal, patience = PATIENCE }: Connection): Remote {
  const home = address(endpoint);
  const { host } = home;
  const root = home.href.replace(/\/+$/, '');
  const listings = new Map<string, Listing>(); // for pages, which see no headers of redirects
  let opaque = false; // a page follows redirects by itself and does not show them

  const fail = (text: string, more: Partial<HubError> = {}, cause?: unknown): HubError =>
    Object.assign(new HubError(`[hub] ${repo}: ${text}`, { cause }), more);

  /** One request with its redirects. The token is for the hub's own address; it goes to no other. */
  async function send(path: string, { method = 'GET', range }: Request, until: AbortSignal): Promise<Response> {
    let url = new URL(root + path);
    for (let hop = 0; hop < MAX_HOPS; ) {
      const headers = new Headers({ 'accept-encoding': 'identity' }); // ranges and sizes are those of the file
      if (range) headers.set('range', range);
      if (token && url.origin === home.origin) headers.set('authorization', `Bearer ${token}`);
      const redirect = opaque ? 'follow' : 'manual';
      const plain = { cache: 'no-store', referrerPolicy: 'no-referrer' } as const; // in a page: what is kept is kept once
      const response = await fetch(url, { ...plain, method, headers, redirect, signal: until });
      if (response.type === 'opaqueredirect') {
        opaque = true;
        if (method === 'HEAD') return response;
        continue;
      }
      const to = REDIRECTS.includes(response.status) ? response.headers.get('location') : null;
      if (to === null || (method === 'HEAD' && response.headers.has('x-linked-etag'))) return response;
      await response.body?.cancel();
      url = new URL(to, url);
      hop++;
    }
    throw fail(`got more than ${MAX_HOPS} redirects from ${host}, want a file`);
  }

  async function ask(path: string, request: Request): Promise<Answer> {
    const own = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const rest = () => clearTimeout(timer);
    const feed = (ms = patience.stall) => {
      rest();
      timer = setTimeout(() => own.abort(new Error(`nothing came for ${ms / 1000} s`)), ms);
    };
    const close = () => {
      rest();
      own.abort();
    };
    try {
      feed(patience.answer);
      const response = await send(path, request, signal ? AbortSignal.any([signal, own.signal]) : own.signal);
      const { status } = response;
      if (status >= 400 && status !== 416 && !isMissing(response)) throw refusal(response, request.revision);
      feed();
      return { response, feed, rest, close };
    } catch (error) {
      close();
      throw lost(error);
    }
  }

  /** Any error of a request as one that says what to do. */
  function lost(error: unknown): unknown {
    if (signal?.aborted) return signal.reason;
    if (error instanceof UserError) return error;
    return fail(`got no answer from ${host} (${reasonOf(error)}), want a connection`, { again: true }, error);
  }

  function refusal({ status, headers }: Response, revision = ''): HubError {
    const code = headers.get('x-error-code');
    const said = (headers.get('x-error-message') ?? '').replace(/[.\s]+$/, '');
    const page = `${root}/${repo}`;
    const got = `got status ${status}${said && ` (${said})`} from ${host}`;
    const key = `${token ? 'a token that may read it' : 'a token'} in HF_TOKEN`;
    if (code === 'GatedRepo') return fail(`got a gated model, want its licence accepted at ${page}, and ${key}`);
    if (code === 'RevisionNotFound') {
      const want = `a branch, tag or commit of ${page}`;
      return fail(`got no revision ${JSON.stringify(revision)}, want ${want}`, { noRevision: true });
    }
    if (status === 401 && /credentials/i.test(said)) return fail(`${got}, want a valid token in HF_TOKEN, or none`);
    if (code === 'RepoNotFound' || status === 401) {
      return fail(`got no such model on ${host}, want an id that is there; if it is private, ${key}`);
    }
    if (status === 403) return fail(`${got}, want ${key}`);
    if (!BUSY.includes(status)) return fail(`${got}, want 200`);
    const wait = 1000 * (Number(headers.get('retry-after')) || 0);
    const advice =
      status === 429 ? `wait ${wait ? `${wait / 1000} s` : 'a while'}, or set HF_TOKEN` : 'try again later';
    return fail(`${got}, want 200: ${advice}`, { again: true, wait });
  }

  /** Waits before the next try, or throws `error` where there is to be none. `tried`: how often so far. */
  async function beforeAgain(error: unknown, tried: number, tries: number): Promise<void> {
    if (!(error instanceof HubError && error.again) || tried >= tries || error.wait > LONGEST_WAIT) throw error;
    await pause(Math.max(error.wait, patience.wait * 2 ** (tried - 1)), signal);
  }

  /** `read` of an answer; again where that may help. */
  async function get<T>(
    path: string,
    request: Request,
    read: (response: Response) => T | Promise<T>,
    tries = 3,
  ): Promise<T> {
    for (let tried = 1; ; tried++) {
      let answer: Answer | undefined;
      try {
        answer = await ask(path, request);
        return await read(answer.response);
      } catch (error) {
        await beforeAgain(lost(error), tried, tries);
      } finally {
        answer?.close();
      }
    }
  }

  const place = (commit: string, file: string) =>
    `/${repo}/resolve/${encodeURIComponent(commit)}/${file.split('/').map(encodeURIComponent).join('/')}`;

  async function list(revision: string, tries?: number): Promise<Listing> {
    const known = listings.get(revision);
    if (known) return known;
    const path = `/api/models/${repo}/revision/${encodeURIComponent(revision)}?blobs=true`;
    const text = await get(path, { revision }, (response) => response.text(), tries);
    const listing = listingOf(text, `hub: the answer of ${host}`);
    for (const name of [revision, listing.commit]) listings.set(name, listing);
    return listing;
  }

  async function describe(commit: string, file: string): Promise<Content | undefined> {
    const request = { method: 'HEAD', revision: commit } as const;
    const response = opaque ? undefined : await get(place(commit, file), request, (answer) => answer);
    if (!response || response.type === 'opaqueredirect') {
      const { files } = await list(commit);
      const content = files.get(file);
      if (content || !files.has(file)) return content;
      throw fail(`got no size and hash of ${file} from ${host}, want a hub that lists them`);
    }
    if (isMissing(response)) return undefined;
    const { headers } = response;
    const etag = headers.get('x-linked-etag') ?? headers.get('etag');
    if (!etag || !headers.has('x-repo-commit')) {
      throw fail(`got no ETag and X-Repo-Commit from ${host}, want a hub: look at HF_ENDPOINT and at proxies`);
    }
    const length = headers.has('content-encoding') ? null : headers.get('content-length');
    const size = headers.get('x-linked-size') ?? length;
    return { etag: plainName(etag.replace(/^W\/|"/g, '')), size: size === null ? undefined : Number(size) };
  }

  async function* stream(commit: string, file: string, size: number | undefined, from = 0, to = size) {
    let [at, best, tried] = [from, from, 0];
    let ranges = true;
    while (to === undefined || at < to) {
      let answer: Answer | undefined;
      try {
        const part = ranges && (at > 0 || to !== size);
        const range = part ? `bytes=${at}-${to === size ? '' : to! - 1}` : '';
        answer = await ask(place(commit, file), { range, revision: commit });
        const { status, headers, body } = answer.response;
        const start = status === 206 ? Number(/^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1]) : 0;
        if (status >= 400 || (status === 206 && start !== at)) {
          [ranges, at] = [false, 0];
          throw fail(`got status ${status} for ${range || 'all'} of ${file}, want its bytes`, { again: true });
        }
        at = start;
        const reader = body?.getReader();
        for (let next = await reader?.read(); next && !next.done; next = await reader!.read()) {
          answer.rest(); // what the taker does with it is not the server's time
          const bytes = next.value.subarray(0, to === undefined ? undefined : to - at);
          yield { at, bytes };
          at += bytes.length;
          if (at === to) return;
          if (at > best) [best, tried] = [at, 0];
          answer.feed();
        }
        if (to === undefined) return;
        throw fail(`got ${at} bytes of ${file}, want ${to}: the connection was cut`, { again: true });
      } catch (error) {
        await beforeAgain(lost(error), ++tried, TRIES);
      } finally {
        answer?.close();
      }
    }
  }

  return { host, list, describe, stream };
}

const isMissing = ({ status, headers }: Response) => status === 404 && headers.get('x-error-code') === 'EntryNotFound';

function address(endpoint: string): URL {
  if (/^https?:/.test(endpoint) && URL.canParse(endpoint)) return new URL(endpoint);
  throw new UserError(
    `[hub] endpoint: got ${JSON.stringify(endpoint)}, want an address such as https://huggingface.co`,
  );
}

/** The answer of /api/models/ID/revision/REVISION?blobs=true. */
function listingOf(text: string, where: string): Listing {
  const { sha, siblings } = parseObject(text, where);
  if (typeof sha !== 'string' || !Array.isArray(siblings)) throw new UserError(`[${where}] got no sha and siblings`);
  const files = new Map<string, Content | undefined>();
  for (const entry of siblings) {
    if (!isObject(entry) || typeof entry.rfilename !== 'string') continue;
    const [etag, size] = isObject(entry.lfs) ? [entry.lfs.sha256, entry.lfs.size] : [entry.blobId, entry.size];
    const known = typeof etag === 'string' && typeof size === 'number';
    files.set(entry.rfilename, known ? { etag: plainName(etag), size } : undefined);
  }
  return { commit: plainName(sha), files };
}

/** A commit or an etag, which become names of files; a server is not trusted with them. */
export function plainName(name: string): string {
  if (/^\w[\w.-]*$/.test(name)) return name;
  throw new UserError(`[hub] got ${JSON.stringify(name)} for a commit or an etag, want letters and digits`);
}

/** Waits; rejects with the signal's reason when it is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { once: true });
  });
}
