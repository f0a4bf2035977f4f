// Tasks over HTTP on 127.0.0.1, as OpenAI's API has them: https://platform.openai.com/docs/api-reference
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Model as ModelEntry } from 'openai/resources/models';
import { explain, UserError } from '../io/error.ts';
import { chatCompletion } from './chat.ts';
import { embeddings } from './embeddings.ts';
import { checkCaller, type Exchange, type Kind, type Models, Reply, type Rules, readJson, refuseRaw } from './http.ts';
import { Refusal } from './refusal.ts';
import { Turns } from './turns.ts';

export type { Models };
export type ServeOptions = Partial<Rules> & {
  /** 0 takes a free one. */
  port?: number;
  /** Requests that are computed at once, each with a cache of its own. */
  parallel?: number;
  /** Requests that may wait behind them. */
  queue?: number;
  /** Told of each request once it is over. */
  on_request?: (request: { method: string; path: string; status: number; ms: number }) => void;
};

const ENDPOINTS: Record<string, (exchange: Exchange) => Promise<void>> = {
  '/v1/chat/completions': chatCompletion,
  '/v1/embeddings': embeddings,
};
const RULES: Rules = {
  origins: [],
  maxBody: 2 ** 25,
  patience: 30_000,
  allowUrls: false,
  maxNewTokens: Number.MAX_SAFE_INTEGER,
};
const METHODS = 'GET, POST, OPTIONS';
const HEADERS_PATIENCE = 10_000; // ms
const GRACE = 1000; // ms

export type Server = {
  /** http://127.0.0.1:PORT */
  url: string;
  /** Takes no more requests; `now` ends those under way too. */
  close(now?: boolean): Promise<void>;
  /** Done when the last answer is. */
  closed: Promise<void>;
};

/** Listens until it is closed. Throws a UserError where the port is taken. */
export async function serve(models: Models, options: ServeOptions = {}): Promise<Server> {
  const { port = 8000, parallel = 2, queue = 16, on_request, ...given } = options;
  const rules: Rules = { ...RULES, ...given };
  const turns = new Turns(parallel, queue);
  const started = Math.floor(Date.now() / 1000);
  const served = Object.values(models).filter((model) => model !== undefined);
  const underWay = new Set<AbortController>();
  let isClosing = false;
  const goodbye = () => new Refusal(503, 'The server is being stopped', { code: 'server_stopping' });

  const modelOf = <K extends Kind>(kind: K, id: string): NonNullable<Models[K]> => {
    const model = models[kind];
    if (model?.id === id) return model;
    const want = model ? `want ${model.id}` : `no model for ${kind} is loaded: see tessera serve --help`;
    throw new Refusal(404, `model: got ${id}, ${want}`, { param: 'model', code: 'model_not_found' });
  };

  async function list(path: string): Promise<object> {
    const entries = served.map(
      ({ id }): ModelEntry => ({ id, object: 'model', created: started, owned_by: 'tessera' }),
    );
    if (path === '/v1/models') return { object: 'list', data: entries };
    const name = path.slice('/v1/models/'.length);
    const id = await explain('models', 'not a name', () => decodeURIComponent(name));
    const found = entries.find((entry) => entry.id === id);
    if (found) return found;
    throw new Refusal(404, `model: got ${id}, want one of ${served.map(({ id }) => id).join(', ')}`, {
      ...{ param: 'model', code: 'model_not_found' },
    });
  }

  async function answer(request: IncomingMessage, path: string, reply: Reply, signal: AbortSignal): Promise<void> {
    checkCaller(request, rules);
    const { method, headers } = request;
    if (headers.origin !== undefined) {
      reply.header('access-control-allow-origin', headers.origin);
      reply.header('vary', 'Origin');
    }
    if (isClosing) throw goodbye();
    const isList = path === '/v1/models' || path.startsWith('/v1/models/');
    const endpoint = Object.hasOwn(ENDPOINTS, path) ? ENDPOINTS[path] : undefined;
    if (!isList && !endpoint) {
      const want = [...Object.keys(ENDPOINTS), '/v1/models'].join(', ');
      throw new Refusal(404, `Unknown request URL: got ${method} ${path}, want one of ${want}`, {
        code: 'unknown_url',
      });
    }
    if (method === 'OPTIONS') {
      reply.header('access-control-allow-methods', METHODS);
      reply.header('access-control-allow-headers', headers['access-control-request-headers'] ?? '*');
      return reply.empty();
    }
    const want = isList ? 'GET' : 'POST';
    if (method !== want) {
      throw new Refusal(405, `Not allowed for ${path}: got ${method}, want ${want}`, {
        ...{ code: 'method_not_allowed', headers: { allow: want } },
      });
    }
    if (isList) return reply.json(await list(path));
    const body = await readJson(request, rules, signal);
    return endpoint!({ body, signal, turns, reply, rules, modelOf });
  }

  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const start = performance.now();
    const [path = '/'] = (request.url ?? '/').split('?');
    const control = new AbortController();
    underWay.add(control);
    response.on('close', () => {
      if (!response.writableFinished) control.abort();
      if (isClosing) server.closeIdleConnections();
      const { method = '' } = request;
      on_request?.({ method, path, status: response.statusCode, ms: performance.now() - start });
    });
    const reply = new Reply(request, response);
    try {
      await answer(request, path, reply, control.signal);
    } catch (error) {
      reply.refuse(control.signal.aborted ? control.signal.reason : error);
    } finally {
      underWay.delete(control);
    }
  });
  server.on('clientError', (_, socket) => refuseRaw(socket)); // what is no HTTP, or its headers do not come
  server.headersTimeout = HEADERS_PATIENCE;
  server.requestTimeout = 0; // bodies have their own, with an answer in the right shape

  await listen(server, port);
  const closed = new Promise<void>((resolve) => server.on('close', resolve));
  return {
    closed,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close(now = false) {
      if (!isClosing) server.close();
      isClosing = true;
      server.closeIdleConnections();
      if (now) {
        for (const control of underWay) control.abort(goodbye());
        setTimeout(() => server.closeAllConnections(), GRACE).unref(); // of clients that do not read
      }
      return closed;
    },
  };
}

/** Throws a UserError where the port is taken, which is better known before models are loaded. */
export async function checkPort(port: number): Promise<void> {
  const server = createServer();
  await listen(server, port);
  await new Promise((resolve) => server.close(resolve));
}

function listen(server: HttpServer, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const what = error.code === 'EADDRINUSE' ? 'is taken: want another --port, or 0 for a free one' : error.message;
      reject(new UserError(`[serve] port ${port} ${what}`, { cause: error }));
    });
    server.listen(port, '127.0.0.1', resolve);
  });
}
