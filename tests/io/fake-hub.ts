// A hub on this machine: models at commits, large files behind a redirect to another host, and everything that can go wrong.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Files = Record<string, Uint8Array | string>;
export type Seen = { host: 'hub' | 'cdn'; method: string; path: string; range?: string; token?: string };

/** What happens to one answer. `after` counts bytes of its body. */
export type Fault =
  | { status: number; headers?: Record<string, string> }
  | { cut: number }
  | { short: number }
  | { stall: number }
  | { slow: number }
  | { flip: true }
  | { noRange: true };

type Stored = { bytes: Buffer; etag: string; isLarge: boolean };
type Model = { commits: Map<string, Map<string, Stored>>; refs: Map<string, string>; gated: boolean; token?: string };

export type FakeHub = {
  endpoint: string;
  seen: Seen[];
  /** Called for each request; what it gives goes wrong. */
  fault: ((request: Seen) => Fault | undefined) | undefined;
  /** A new commit of a model; gives its name. */
  commit(repo: string, files: Files, options?: { revision?: string; gated?: boolean; token?: string }): string;
  close(): Promise<void>;
};

/** Files larger than this are in LFS. */
const LARGE = 1000;
const EXPOSED =
  'X-Repo-Commit,X-Error-Code,X-Error-Message,ETag,Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag';

export const digest = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

/** Bytes that look like weights and are the same everywhere. */
export function noise(size: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(size / 4));
  let state = seed;
  for (let i = 0; i < words.length; i++) words[i] = state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return new Uint8Array(words.buffer, 0, size);
}

export async function fakeHub(): Promise<FakeHub> {
  const models = new Map<string, Model>();
  const blobs = new Map<string, Buffer>();
  const [hub, cdn] = await Promise.all([listen(answer), listen(answerBlob)]);

  const self: FakeHub = {
    endpoint: hub.address,
    seen: [],
    fault: undefined,
    commit(repo, files, { revision = 'main', gated = false, token } = {}) {
      const stored = new Map(Object.entries(files).map(([name, content]) => [name, store(content)]));
      const commit = createHash('sha1')
        .update(JSON.stringify([repo, revision, [...stored].map(([name, { etag }]) => [name, etag])]))
        .digest('hex');
      const model = models.get(repo) ?? { commits: new Map(), refs: new Map(), gated, ...(token && { token }) };
      models.set(repo, model);
      model.commits.set(commit, stored);
      model.refs.set(revision, commit);
      return commit;
    },
    async close() {
      await Promise.all([hub.close(), cdn.close()]);
    },
  };
  return self;

  function store(content: Uint8Array | string): Stored {
    const bytes = Buffer.from(content as string);
    const isLarge = bytes.length > LARGE;
    const git = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
    const etag = isLarge ? digest(bytes) : git;
    blobs.set(etag, bytes);
    return { bytes, etag, isLarge };
  }

  function look(host: Seen['host'], { method = '', url: path = '', headers }: IncomingMessage): Fault | undefined {
    const { range, authorization: token } = headers;
    const request: Seen = { host, method, path, ...(range && { range }), ...(token && { token }) };
    if (method !== 'OPTIONS') self.seen.push(request);
    return self.fault?.(request);
  }

  function answer(request: IncomingMessage, response: ServerResponse): unknown {
    const fault = look('hub', request);
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-allow-headers', 'authorization, range');
    response.setHeader('access-control-expose-headers', EXPOSED);
    if (request.method === 'OPTIONS') return response.writeHead(204).end();
    if (fault && 'status' in fault) return response.writeHead(fault.status, fault.headers ?? {}).end();
    const deny = (status: number, code: string, more: Record<string, string> = {}) =>
      response.writeHead(status, { 'x-error-code': code, 'x-error-message': `It is ${code}.`, ...more }).end();
    const path = new URL(request.url!, 'http://x').pathname.replace('/api/resolve-cache/models', '');
    const parts = /^(?:\/api\/models)?\/([^/]+\/[^/]+)\/(revision|resolve)\/([^/]+)(?:\/(.+))?$/.exec(path);
    const [, repo = '', kind, revision = '', file = ''] = parts ?? [];
    const model = models.get(repo);
    const allowed = model?.token === undefined || request.headers.authorization === `Bearer ${model.token}`;
    if (!model || (!allowed && !model.gated)) return deny(401, 'RepoNotFound');
    const named = decodeURIComponent(revision);
    const commit = model.refs.get(named) ?? named;
    const files = model.commits.get(commit);
    if (!files) return deny(404, 'RevisionNotFound');
    if (kind === 'revision') {
      const siblings = [...files].map(([rfilename, { bytes, etag, isLarge }]) => ({
        rfilename,
        size: bytes.length,
        blobId: isLarge ? 'of the pointer' : etag,
        ...(isLarge && { lfs: { sha256: etag, size: bytes.length, pointerSize: 134 } }),
      }));
      return response.setHeader('content-type', 'application/json').end(JSON.stringify({ sha: commit, siblings }));
    }
    if (!allowed) return deny(model.token && request.headers.authorization ? 403 : 401, 'GatedRepo');
    const found = files.get(decodeURIComponent(file));
    response.setHeader('x-repo-commit', commit);
    if (!found) return deny(404, 'EntryNotFound');
    const { bytes, etag, isLarge } = found;
    if (isLarge) {
      response.setHeader('x-linked-etag', `"${etag}"`).setHeader('x-linked-size', bytes.length);
      return response.writeHead(302, { location: `${cdn.address}/${etag}?signature=1` }).end();
    }
    if (!request.url!.startsWith('/api/resolve-cache')) {
      const location = `/api/resolve-cache/models/${repo}/resolve/${commit}/${file}`;
      return response.writeHead(307, { location }).end();
    }
    response.setHeader('etag', `"${etag}"`);
    return send(request, response, bytes, fault);
  }

  function answerBlob(request: IncomingMessage, response: ServerResponse): unknown {
    const fault = look('cdn', request);
    response.setHeader('access-control-allow-origin', '*').setHeader('access-control-expose-headers', 'Content-Range');
    if (fault && 'status' in fault) return response.writeHead(fault.status, fault.headers ?? {}).end();
    const bytes = blobs.get(request.url!.slice(1).split('?')[0]!);
    if (!bytes) return response.writeHead(404).end();
    return send(request, response.setHeader('etag', '"of the cdn"'), bytes, fault);
  }
}

async function send(request: IncomingMessage, response: ServerResponse, bytes: Buffer, fault: Fault = { slow: 0 }) {
  const asked = 'noRange' in fault ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const start = Number(asked?.[1] ?? 0);
  const end = Math.min(bytes.length, asked?.[2] ? Number(asked[2]) + 1 : bytes.length);
  if (start >= end && bytes.length > 0) {
    return response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
  }
  let body = Buffer.from(bytes.subarray(start, end));
  if ('flip' in fault && body.length > 0) body[0]! ^= 1;
  if (!('short' in fault)) response.setHeader('content-length', body.length);
  if (asked) response.setHeader('content-range', `bytes ${start}-${end - 1}/${bytes.length}`);
  response.writeHead(asked ? 206 : 200, { 'accept-ranges': 'bytes' });
  if (request.method === 'HEAD') return response.end();
  if ('short' in fault) return response.end(body.subarray(0, fault.short));
  const until = 'cut' in fault ? fault.cut : 'stall' in fault ? fault.stall : body.length;
  body = body.subarray(0, until);
  const closed = once(response, 'close');
  const piece = 'slow' in fault && fault.slow ? fault.slow : 1 << 16;
  for (let at = 0; at < body.length && !response.destroyed; at += piece) {
    const goesOn = response.write(body.subarray(at, at + piece));
    if ('slow' in fault && fault.slow) await new Promise((resolve) => setTimeout(resolve, 5));
    else if (!goesOn) await Promise.race([once(response, 'drain'), closed]);
  }
  if ('cut' in fault) return setTimeout(() => response.destroy(), 250); // a client that is slow to read would lose what it has
  if (!('stall' in fault)) return response.end();
}

async function listen(handle: (request: IncomingMessage, response: ServerResponse) => unknown) {
  const server: Server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
