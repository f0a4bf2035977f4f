// One request and its answer over node:http: who may ask, how much, how long, and in which shape it is told.
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { parseObject } from '../io/json.ts';
import type { Embedder } from '../tasks/embedder.ts';
import type { ImageTextGenerator } from '../tasks/image-text-to-text.ts';
import type { TextGenerator } from '../tasks/text-generation.ts';
import type { PictureRules } from './pictures.ts';
import { Refusal, refusalOf } from './refusal.ts';
import type { Turns } from './turns.ts';

export type CallerRules = {
  /** What `Authorization: Bearer` has to say; anything without it. */
  apiKey?: string | undefined;
  /** Pages of these origins may ask, beside those that this server would serve. */
  origins: readonly string[];
  /** Bytes of a body. */
  maxBody: number;
  /** Milliseconds in which a body has to be there. */
  patience: number;
};

/** What is served, by the ids that requests name. */
export type Models = {
  /** What answers messages: of texts alone, or with pictures. */
  chat?: { id: string; task: TextGenerator | ImageTextGenerator } | undefined;
  /** An embedder of texts. */
  embeddings?: { id: string; task: Embedder } | undefined;
};
export type Kind = keyof Models;

/** What a request may take. */
export type Rules = CallerRules &
  PictureRules & {
    /** Tokens of an answer; without it what the model's context has room for. */
    maxNewTokens: number;
  };

/** What an endpoint works with. */
export type Exchange = {
  body: unknown;
  /** Aborted when the client goes away, or the server is stopped. */
  signal: AbortSignal;
  turns: Turns;
  reply: Reply;
  rules: Rules;
  /** The model of a request. Throws a Refusal where it is not served. */
  modelOf<K extends Kind>(kind: K, id: string): NonNullable<Models[K]>;
};

const LOCAL = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?$/i;
const LINGER = 5000; // ms in which a client that still sends may read why nobody listens

/**
 * Throws a Refusal unless the caller may ask. A name that is not this machine's leads here when a page has had its own name
 * point to 127.0.0.1 (DNS rebinding); other pages say their origin.
 */
export function checkCaller({ headers, method }: IncomingMessage, { apiKey, origins }: CallerRules): void {
  const { host, origin, authorization = '' } = headers;
  if (!LOCAL.test(host ?? '')) {
    throw new Refusal(403, `Host: got ${host ?? 'none'}, want 127.0.0.1 or localhost`, { code: 'host_not_allowed' });
  }
  const from = origin ?? (/^(?:cross|same)-site$/.test(String(headers['sec-fetch-site'])) ? 'another site' : undefined);
  if (from !== undefined && from !== `http://${host}` && !origins.includes(from)) {
    throw new Refusal(403, `Origin: got ${from}, which is not allowed here: see --allow-origin`, {
      code: 'origin_not_allowed',
    });
  }
  if (apiKey === undefined || method === 'OPTIONS') return; // a browser asks without the key whether it may ask
  const hash = (text: string) => createHash('sha256').update(text).digest();
  if (timingSafeEqual(hash(authorization), hash(`Bearer ${apiKey}`))) return;
  const got = authorization === '' ? 'No API key was given' : 'This API key is not the one of this server';
  throw new Refusal(401, `${got}: want Authorization: Bearer KEY`, {
    ...{ code: 'invalid_api_key', headers: { 'www-authenticate': 'Bearer' } },
  });
}

/** The JSON object that a request brings. Throws a Refusal where it is too large, too slow or of another type, a UserError where it is no JSON. */
export async function readJson(request: IncomingMessage, rules: CallerRules, signal: AbortSignal): Promise<unknown> {
  const { 'content-type': type, 'content-encoding': encoding = 'identity' } = request.headers;
  if (!/^application\/json\s*(?:;|$)/i.test(type ?? '') || encoding !== 'identity') {
    const got = `${type ?? 'none'}${encoding === 'identity' ? '' : `, ${encoding}`}`;
    throw new Refusal(415, `Content-Type: got ${got}, want application/json`);
  }
  const bytes = await readBody(request, rules, signal);
  try {
    return parseObject(new TextDecoder('utf-8', { fatal: true }).decode(bytes), 'body');
  } catch (error) {
    if (error instanceof TypeError) throw new Refusal(400, 'body: this is no text in UTF-8');
    throw error;
  }
}

function readBody(
  request: IncomingMessage,
  { maxBody, patience }: CallerRules,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const tooLarge = new Refusal(413, `body: got more than ${maxBody} bytes, which is the limit here (--max-body)`, {
    code: 'request_too_large',
  });
  if (Number(request.headers['content-length'] ?? 0) > maxBody) throw tooLarge;
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = [];
    let size = 0;
    const stop = (error: Error) => {
      clearTimeout(timer);
      pieces.length = 0;
      reject(error);
    };
    const late = new Refusal(408, `body: not there after ${patience / 1000} seconds`, { code: 'request_timeout' });
    const timer = setTimeout(stop, patience, late);
    request.on('data', (piece: Uint8Array) => {
      size += piece.length;
      if (size > maxBody) stop(tooLarge);
      else pieces.push(piece);
    });
    request.on('end', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(pieces));
    });
    signal.addEventListener('abort', () => stop(signal.reason));
    request.on('error', stop);
  });
}

/** Where no request could be read. */
export function refuseRaw(socket: Duplex): void {
  const { status, body } = new Refusal(
    400,
    'This is no HTTP request, its headers are too large, or they did not come in time',
  );
  const text = JSON.stringify(body);
  const head = ['Bad Request', 'content-type: application/json', `content-length: ${text.length}`, 'connection: close'];
  if (socket.writable) socket.end(`HTTP/1.1 ${status} ${head.join('\r\n')}\r\n\r\n${text}`);
}

/** An answer: one JSON document, or events one after the other (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
export class Reply {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
    response.setHeader('x-request-id', `req_${randomUUID().replaceAll('-', '')}`);
  }

  header(name: string, value: string): void {
    this.#response.setHeader(name, value);
  }

  json(value: unknown): void {
    this.#send(200, Buffer.from(JSON.stringify(value)));
  }

  empty(): void {
    this.#response.writeHead(204).end();
  }

  /** The status is settled with the first. What a slow reader leaves is kept for it: an answer is no longer than a context. */
  event(value: unknown): void {
    if (!this.#response.headersSent) {
      this.#response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    }
    this.#response.write(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`);
  }
  end(): void {
    this.#response.end();
  }

  refuse(error: unknown): void {
    const response = this.#response;
    const { status, headers, body } = refusalOf(error);
    if (response.destroyed) return; // nobody is there
    if (response.headersSent) {
      this.event(body);
      this.end();
      return;
    }
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    this.#send(status, Buffer.from(JSON.stringify(body)));
  }

  #send(status: number, body: Buffer): void {
    const request = this.#request;
    const response = this.#response;
    const isRead = request.complete;
    const more = isRead ? {} : { connection: 'close' };
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length, ...more });
    if (isRead) {
      response.end(body);
      return;
    }
    response.write(body); // who ends a connection that brings more loses what was not read yet
    const end = () => {
      clearTimeout(timer);
      response.end();
    };
    const timer = setTimeout(() => request.destroy(), LINGER);
    request.on('end', end).on('close', end).resume();
  }
}
