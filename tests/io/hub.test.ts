// The hub from here: what is asked of it, where it is kept, and what is said when it says no.
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { cache } from '../../src/io/cache.ts';
import { openCheckpoint } from '../../src/io/checkpoint.ts';
import { reasonOf } from '../../src/io/error.ts';
import { hubFolder } from '../../src/io/hub-folder.ts';
import { digest, type Seen } from './fake-hub.ts';
import { fetchAll } from './hub-client.ts';
import { BIG, FILES, message, patience, REPO, SUMS, useHub } from './hub-support.ts';

const self = useHub();

describe('the cache', () => {
  test("has Python's layout", async () => {
    expect((await self.fetch({}, [...Object.keys(FILES), 'none.json'])).files).toEqual(SUMS);
    expect(readFileSync(self.at('refs/main'), 'utf8')).toBe(self.commit);
    expect(await readlink(self.at('snapshots', self.commit, 'model.safetensors'))).toBe(`../../blobs/${digest(BIG)}`);
    expect(await readlink(self.at('snapshots', self.commit, 'unet/config.json'))).toMatch(
      /^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/,
    );
    expect(readdirSync(self.at('.no_exist', self.commit))).toEqual(['none.json']);
    expect(readdirSync(self.at('blobs')).sort()).toEqual(
      [...readdirSync(self.at('blobs'))].filter((name) => !name.includes('.')),
    );
    expect(readdirSync(self.cache_dir).sort()).toEqual(['CACHEDIR.TAG', 'models--owner--model']);
  });

  test('what is there is not fetched again; one question finds out', async () => {
    await self.fetch({}, [...Object.keys(FILES), 'none.json']);
    self.hub.seen.length = 0;
    const again = await self.fetch({}, [...Object.keys(FILES), 'none.json']);
    expect(again).toEqual({ files: SUMS, events: [] });
    expect(self.hub.seen.map(({ method, path: asked }) => [method, asked])).toEqual([
      ['GET', '/api/models/owner/model/revision/main?blobs=true'],
    ]);
  });

  test('content that another commit had is linked, not fetched', async () => {
    const repo = 'owner/two';
    self.hub.commit(repo, { 'config.json': '{"a": 1}', 'model.safetensors': BIG });
    await self.fetch({}, ['config.json', 'model.safetensors'], repo);
    const second = self.hub.commit(repo, { 'config.json': '{"a": 2}', 'model.safetensors': BIG });
    self.hub.seen.length = 0;
    await self.fetch({}, ['config.json', 'model.safetensors'], repo);
    expect(self.hub.seen.filter(({ host }) => host === 'cdn')).toEqual([]);
    expect(readFileSync(path.join(self.cache_dir, 'models--owner--two/refs/main'), 'utf8')).toBe(second);
    const [model] = await cache.list({ cache_dir: self.cache_dir });
    expect(model).toMatchObject({ repo_id: repo, revisions: [{ refs: expect.any(Array) }, {}] });
    expect(model!.revisions.find(({ commit_hash }) => commit_hash === second)!.refs).toEqual(['main']);
    expect(model!.size_on_disk).toBe(BIG.length + 8 + 8 + 40);
    expect([
      await cache.delete(repo, { cache_dir: self.cache_dir }),
      await cache.delete(repo, { cache_dir: self.cache_dir }),
    ]).toEqual([true, false]);
    expect(await cache.list({ cache_dir: self.cache_dir })).toEqual([]);
  });

  test('copies where links are not allowed', async () => {
    vi.stubEnv('HF_HUB_DISABLE_SYMLINKS', '1');
    await self.fetch();
    expect(readdirSync(self.at('blobs'))).toEqual([]); // moved, as Python does
    expect(digest(readFileSync(self.at('snapshots', self.commit, 'model.safetensors')))).toBe(digest(BIG));
    self.hub.seen.length = 0;
    expect((await self.fetch({ local_files_only: true })).files).toEqual(SUMS);
  });

  test('a blob that is gone or cut short is fetched again', async () => {
    await self.fetch();
    truncateSync(self.at('blobs', digest(BIG)), 1000);
    rmSync(self.at('snapshots', self.commit, 'model.safetensors'));
    expect((await self.fetch()).files).toEqual(SUMS);
    rmSync(self.at('blobs', digest(BIG)));
    expect((await self.fetch()).files).toEqual(SUMS);
  });

  test('lies where the environment says', async () => {
    const environments: [Record<string, string>, string][] = [
      [{ HF_HUB_CACHE: `${self.cache_dir}/a`, HF_HOME: `${self.cache_dir}/no` }, 'a'],
      [{ HF_HOME: `${self.cache_dir}/b` }, 'b/hub'],
      [{ XDG_CACHE_HOME: `${self.cache_dir}/c` }, 'c/huggingface/hub'],
      [{ HOME: self.cache_dir, HF_HOME: '~/d' }, 'd/hub'],
      [{ HERE: self.cache_dir, HF_HOME: '$HERE/e' }, 'e/hub'],
    ];
    for (const [environment, folder] of environments) {
      for (const name of ['HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HOME', 'XDG_CACHE_HOME'])
        vi.stubEnv(name, undefined);
      for (const [name, value] of Object.entries({ HF_ENDPOINT: self.hub.endpoint, ...environment }))
        vi.stubEnv(name, value);
      await fetchAll(REPO, ['config.json'], { patience });
      expect(existsSync(path.join(self.cache_dir, folder, 'models--owner--model/refs/main'))).toBe(true);
    }
  });
});

describe('offline', () => {
  test.each([
    ['local_files_only', { local_files_only: true }, {}],
    ['HF_HUB_OFFLINE', {}, { HF_HUB_OFFLINE: '1' }],
  ])('%s: what is there, and no question', async (_, options, environment) => {
    await self.fetch();
    self.hub.seen.length = 0;
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    expect((await self.fetch(options, [...Object.keys(FILES), 'other.json'])).files).toEqual(SUMS);
    expect(await message(self.fetch({ ...options, revision: 'v2' }))).toBe(
      '[hub] owner/model: got nothing of revision "v2" in the cache, want it fetched once; HF_HUB_OFFLINE or local_files_only is on',
    );
    expect(self.hub.seen).toEqual([]);
    const folder = await hubFolder(REPO, { cache_dir: self.cache_dir, ...options });
    expect([folder.name, await folder.list()]).toEqual(['owner/model (offline)', ['config.json', 'model.safetensors']]);
  });

  test('a hub that does not answer: what is there', async () => {
    await self.fetch();
    expect((await self.fetch({ endpoint: 'http://127.0.0.1:1' })).files).toEqual(SUMS);
    self.hub.fault = () => ({ status: 503 });
    expect((await self.fetch()).files).toEqual(SUMS);
    expect((await self.fetch({ revision: self.commit })).files).toEqual(SUMS);
  });

  test('and with nothing there, the reason', async () => {
    expect(await message(self.fetch({ endpoint: 'http://127.0.0.1:1' }))).toMatch(
      /^\[hub\] owner\/model: got no answer from 127\.0\.0\.1:1 \(.+\), want a connection$/,
    );
    self.hub.fault = () => ({ status: 503 });
    expect(await message(self.fetch())).toBe(
      `[hub] owner/model: got status 503 from ${host()}, want 200: try again later`,
    );
    expect(self.hub.seen).toHaveLength(3);
  });

  test('that of the first address, where a host has several', () => {
    const of = (address: string) => new Error(`connect ECONNREFUSED ${address}:443`);
    const cause = new AggregateError([of('192.0.2.1'), of('2001:db8::1')]); // it says nothing itself
    expect(reasonOf(new TypeError('fetch failed', { cause }))).toBe('connect ECONNREFUSED 192.0.2.1:443');
    expect(reasonOf(new TypeError('fetch failed', { cause: new AggregateError([]) }))).toBe('fetch failed');
  });
});

const host = () => new URL(self.hub.endpoint).host;

describe('answers that say no', () => {
  test('no such model, revision or file', async () => {
    const want = 'want an id that is there; if it is private, a token in HF_TOKEN';
    expect(await message(self.fetch({}, [], 'owner/none'))).toBe(
      `[hub] owner/none: got no such model on ${host()}, ${want}`,
    );
    await self.fetch();
    expect(await message(self.fetch({ revision: 'no/such' }))).toBe(
      `[hub] owner/model: got no revision "no/such", want a branch, tag or commit of ${self.hub.endpoint}/owner/model`,
    );
    const open = openCheckpoint(REPO, { endpoint: self.hub.endpoint, cache_dir: self.cache_dir, subfolder: 'unet' });
    expect(await message(open)).toBe(
      '[owner/model/unet] no weights: got config.json, want model.safetensors or another .safetensors file',
    );
  });

  test('gated and private models; the token goes to the hub and to no other host', async () => {
    self.hub.commit('owner/gated', FILES, { gated: true, token: 'good' });
    self.hub.commit('owner/private', FILES, { token: 'good' });
    const files = Object.keys(FILES);
    const page = `${self.hub.endpoint}/owner/gated`;
    const gated = (token?: string) => message(self.fetch(token ? { token } : {}, files, 'owner/gated'));
    expect(await gated()).toBe(
      `[hub] owner/gated: got a gated model, want its licence accepted at ${page}, and a token in HF_TOKEN`,
    );
    expect(await gated('bad')).toMatch(/accepted at .*, and a token that may read it in HF_TOKEN$/);
    expect(await message(self.fetch({ token: 'bad' }, files, 'owner/private'))).toMatch(/got no such model/);

    self.hub.seen.length = 0;
    writeFileSync(`${self.cache_dir}/token`, 'good\n');
    expect((await self.fetch({}, files, 'owner/private')).files).toEqual(SUMS);
    vi.stubEnv('HF_TOKEN', 'good');
    vi.stubEnv('HF_TOKEN_PATH', '/nowhere');
    expect((await self.fetch({}, files, 'owner/gated')).files).toEqual(SUMS);
    const tokens = (where: Seen['host']) => [
      ...new Set(self.hub.seen.filter((seen) => seen.host === where).map((seen) => seen.token)),
    ];
    expect([tokens('hub'), tokens('cdn')]).toEqual([['Bearer good'], [undefined]]);
    expect(await message(self.fetch({ token: false }, files, 'owner/gated'))).toBe(undefined); // from the cache
    expect(self.hub.seen.at(-1)!.token).toBeUndefined();
  });

  test('other refusals', async () => {
    const refuse = async (status: number, headers: Record<string, string> = {}) => {
      self.hub.fault = () => ({ status, headers });
      return message(self.fetch());
    };
    const said = { 'x-error-message': 'Invalid credentials in Authorization header' };
    expect(await refuse(401, said)).toMatch(
      /got status 401 \(Invalid cred.*\) from .*, want a valid token in HF_TOKEN, or none$/,
    );
    expect(await refuse(403)).toMatch(/got status 403 from .*, want a token in HF_TOKEN$/);
    expect(await refuse(418)).toMatch(/got status 418 from .*, want 200$/);
    expect(await refuse(301, { location: '/again' })).toMatch(/got more than 10 redirects from .*, want a file$/);
    self.hub.seen.length = 0;
    expect(await refuse(429, { 'retry-after': '3600' })).toMatch(/got status 429 .*: wait 3600 s, or set HF_TOKEN$/);
    expect(self.hub.seen).toHaveLength(1);
  });

  test('what is no hub', async () => {
    self.hub.fault = ({ method }) => (method === 'HEAD' ? { status: 200 } : undefined);
    expect(await message(self.fetch())).toMatch(
      /got no ETag and X-Repo-Commit from .*, want a hub: look at HF_ENDPOINT/,
    );
    self.hub.fault = () => ({ status: 200 });
    expect(await message(self.fetch())).toMatch(/^\[hub: the answer of .*\] not valid JSON/);
    expect(await message(self.fetch({ endpoint: 'huggingface.co' }))).toMatch(
      /^\[hub\] endpoint: got "huggingface.co", want/,
    );
  });

  test('names that lead out of the cache', async () => {
    self.hub.fault = ({ method }) =>
      method === 'HEAD' ? { status: 200, headers: { etag: '"../../x"', 'x-repo-commit': 'a' } } : undefined;
    expect(await message(self.fetch())).toMatch(/got "\.\.\/\.\.\/x" for a commit or an etag/);
    expect(await message(self.fetch({ revision: '../../x' }))).toMatch(/not a file name inside the folder/);
    self.hub.fault = undefined;
    expect(await message(self.fetch({}, ['../x']))).toMatch(/not a file name inside the folder/);
  });
});
