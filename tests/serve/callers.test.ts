// Who may ask the server, and what becomes of requests that are too large, too slow, or none.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TextGenerator } from '../../src/index.ts';
import { bodyOf, live, openText, raw, type Served } from './support.ts';

const PATIENCE = 400; // ms
const CHAT = '/v1/chat/completions';

let s: Served<TextGenerator>;
beforeAll(async () => {
  s = await openText({ maxBody: 100_000, patience: PATIENCE, apiKey: 'secret', origins: ['http://localhost:3000'] });
});
afterAll(() => s[Symbol.asyncDispose]());

const KEY = { authorization: 'Bearer secret' };
const ask = JSON.stringify({ model: 'tiny/model', messages: [{ role: 'user', content: 'hello' }], max_tokens: 2 });

/** A request over a connection of its own, by a name and with headers that a browser or a client would not let one choose. */
const request = (method: string, path: string, headers: Record<string, string>, body = '') => {
  const all = { host: new URL(s.server.url).host, connection: 'close', ...KEY, ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
};
const send = (...args: Parameters<typeof request>) => raw(s.server.url, request(...args));
const JSON_TYPE = { 'content-type': 'application/json' };
const post = (body: string, headers: Record<string, string> = {}) =>
  send('POST', CHAT, { ...JSON_TYPE, 'content-length': String(Buffer.byteLength(body)), ...headers }, body);

/** A body whose bytes come one by one, each in time. */
const dripping = () =>
  raw(s.server.url, request('POST', CHAT, { ...JSON_TYPE, 'content-length': '1000' }), { every: 20 });

function expectRefusal(answer: string, status: number, error: object): void {
  expect(answer.split('\r\n')[0]).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  const type = status >= 500 ? 'server_error' : 'invalid_request_error';
  const whole = { message: expect.stringMatching(/./), type, param: null, code: null, ...error };
  expect(bodyOf(answer)).toEqual({ error: whole });
}

describe('a caller', () => {
  it.each(['evil.example', 'evil.example:8000', '127.0.0.1.evil.example', 'localhost@evil.example', ''])(
    'by the name %j is refused',
    async (host) => expectRefusal(await send('GET', '/v1/models', { host }), 403, { code: 'host_not_allowed' }),
  );
  it.each<Record<string, string>>([
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://127.0.0.1:1' },
    { 'sec-fetch-site': 'cross-site' },
  ])('on a page elsewhere is refused: %j', async (headers) => {
    expectRefusal(await post(ask, headers), 403, { code: 'origin_not_allowed' });
    const preflight = { ...headers, 'access-control-request-method': 'POST' };
    const answer = await send('OPTIONS', CHAT, preflight);
    expectRefusal(answer, 403, { code: 'origin_not_allowed' });
    expect(answer).not.toContain('access-control-allow');
  });
  it('on a page that is allowed is answered, after it has asked', async () => {
    const origin = 'http://localhost:3000';
    const asks = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' };
    const preflight = await send('OPTIONS', CHAT, { ...asks, authorization: '' });
    expect(preflight).toMatch(/^HTTP\/1.1 204 /);
    expect(preflight).toContain(`access-control-allow-origin: ${origin}\r\n`);
    expect(preflight).toContain('access-control-allow-headers: authorization\r\n');
    const answer = await post(ask, { origin });
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
    expect(answer).toContain(`access-control-allow-origin: ${origin}\r\n`);
    expect(await post(ask, { origin: s.server.url })).toMatch(/^HTTP\/1.1 200 /);
  });
  it.each(['', 'Bearer', 'Bearer secrets', 'Basic secret'])('with the key %j is refused', async (authorization) => {
    for (const [method, path] of [['GET', '/v1/models'] as const, ['POST', CHAT] as const, ['GET', '/'] as const]) {
      expectRefusal(await send(method, path, { authorization }), 401, { code: 'invalid_api_key' });
    }
  });
});

describe('a request', () => {
  it.each([
    ['GET', CHAT, 405],
    ['DELETE', '/v1/models', 405],
    ['GET', '/v1/modelsx', 404],
    ['POST', '/v1/completions', 404],
    ['GET', '/', 404],
    ['GET', '/v1/models/%E0%A4%A', 400],
    ['GET', '/../../etc/passwd', 404],
    ['GET', '/constructor', 404],
  ])('%s %s is refused', async (method, path, status) => {
    const answer = await send(method, path, {});
    expectRefusal(answer, status, path.includes('%') ? {} : { code: expect.anything() });
  });
  it.each([
    ['{"model": "tiny/model", ', 'not valid JSON'],
    ['[]', 'want a JSON object'],
    ['', 'not valid JSON'],
    [`{"tools": ${'['.repeat(40_000)}`, 'not valid JSON'],
    [`{"tools": ${'['.repeat(40_000)}${']'.repeat(40_000)}}`, 'tools'],
    [`{"messages": ${'[['.repeat(10_000)}${']]'.repeat(10_000)}, "model": "tiny/model"}`, 'messages[0]'],
    ['{"__proto__": {"model": "tiny/model"}}', 'Unrecognized request argument: __proto__'],
    ['{"constructor": 1}', 'Unrecognized request argument: constructor'],
  ])('with the body %.40s is refused', async (body, message) => {
    const answer = await post(body);
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(bodyOf(answer)).toMatchObject({ error: { message: expect.stringContaining(message) } });
  });
  it('in no UTF-8, of another type, or packed is refused', async () => {
    const latin = request('POST', CHAT, { ...JSON_TYPE, 'content-length': '7' }, '');
    expectRefusal(
      await raw(s.server.url, Buffer.concat([Buffer.from(latin), Buffer.from('{"a":"\xff', 'latin1')])),
      400,
      {},
    );
    expectRefusal(await post(ask, { 'content-type': 'application/x-www-form-urlencoded' }), 415, {});
    expectRefusal(await post(ask, { 'content-encoding': 'gzip' }), 415, {});
  });
  it('that is no HTTP is refused', async () => {
    for (const bytes of ['nonsense\r\n\r\n', `GET / HTTP/1.1\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`]) {
      const answer = await raw(s.server.url, bytes);
      expect(answer).toMatch(/^HTTP\/1.1 4\d\d /);
      expect(bodyOf(answer)).toMatchObject({ error: { type: 'invalid_request_error' } });
    }
  });

  it('whose body does not come is refused in time, and others are answered meanwhile', async () => {
    const before = await live();
    const start = performance.now();
    const slow = raw(s.server.url, request('POST', CHAT, { ...JSON_TYPE, 'content-length': '1000' }, '{"mod'));
    expect(await post(ask)).toMatch(/^HTTP\/1.1 200 /);
    const answer = await slow;
    expect(performance.now() - start).toBeGreaterThan(PATIENCE - 50);
    expectRefusal(answer, 408, { code: 'request_timeout' });
    const drip = await dripping();
    expectRefusal(drip, 408, { code: 'request_timeout' });
    expect(await live()).toBe(before);
  });

  it('of 1 GB is refused, told or not, and nothing of it is kept', async () => {
    const GB = 2 ** 30;
    const told = await raw(s.server.url, request('POST', CHAT, { ...JSON_TYPE, 'content-length': String(GB) }));
    expectRefusal(told, 413, { code: 'request_too_large' });
    const before = process.memoryUsage().rss;
    const piece = new Uint8Array(2 ** 20).fill(32);
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (sent >= GB) return controller.close();
        controller.enqueue(piece);
        sent += piece.length;
      },
    });
    const init = { method: 'POST', body, duplex: 'half', headers: { ...JSON_TYPE, ...KEY } };
    const answer = await fetch(`${s.server.url}${CHAT}`, init as RequestInit);
    expect([answer.status, await answer.json()]).toMatchObject([413, { error: { code: 'request_too_large' } }]);
    expect(sent).toBeLessThan(GB); // it was told before the end
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 28);
  });

  it('that ends before its end leaves nothing', async () => {
    const before = await live();
    await raw(s.server.url, request('POST', CHAT, { ...JSON_TYPE, 'content-length': '100' }, '{'), { leaveAfter: 50 });
    expect(await post(ask)).toMatch(/^HTTP\/1.1 200 /);
    expect(await live()).toBe(before);
  });
});
