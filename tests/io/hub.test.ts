// The hub from here: what is asked of it, what is made of every answer, and that what lies in the cache is what it promised.
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { mkdir, readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { cache } from '../../src/io/cache.ts';
import { openCheckpoint } from '../../src/io/checkpoint.ts';
import { type HubOptions, hubFolder } from '../../src/io/hub-folder.ts';
import type { Progress } from '../../src/io/load.ts';
import { writeSafetensors } from '../../src/io/safetensors.ts';
import { digest, type FakeHub, fakeHub, noise, type Seen } from './fake-hub.ts';
import { fetchAll } from './hub-client.ts';
import { valueOrMessage } from './support.ts';

const REPO = 'owner/model';
const BIG = noise(300_000);
const FILES = { 'config.json': '{"model_type": "clip"}', 'model.safetensors': BIG, 'unet/config.json': '{}' };
const patience = { answer: 2000, stall: 300, wait: 5 };

let hub: FakeHub;
let cache_dir: string;
let commit: string;
beforeAll(async () => {
  hub = await fakeHub();
  commit = hub.commit(REPO, FILES);
});
afterAll(() => hub.close());
beforeEach(() => {
  cache_dir = mkdtempSync(path.join(tmpdir(), 'tessera-hub-'));
  hub.seen.length = 0;
  hub.fault = undefined;
  vi.stubEnv('HF_TOKEN', undefined);
  vi.stubEnv('HF_TOKEN_PATH', `${cache_dir}/token`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(cache_dir, { recursive: true, force: true });
});

const at = (...parts: string[]) => path.join(cache_dir, 'models--owner--model', ...parts);
const fetch = (options: HubOptions = {}, files: string[] = Object.keys(FILES), repo = REPO) =>
  fetchAll(repo, files, { endpoint: hub.endpoint, cache_dir, patience, ...options });
const message = async (work: Promise<unknown>) => (await valueOrMessage(() => work)).message;
const sums = Object.fromEntries(Object.entries(FILES).map(([name, content]) => [name, digest(content)]));
const onBlob =
  (fault: FakeHub['fault']): FakeHub['fault'] =>
  (seen) =>
    seen.host === 'cdn' ? fault!(seen) : undefined;
const ranges = () => hub.seen.filter(({ host }) => host === 'cdn').map(({ range }) => range);

describe('the cache', () => {
  test("has Python's layout", async () => {
    expect((await fetch({}, [...Object.keys(FILES), 'none.json'])).files).toEqual(sums);
    expect(readFileSync(at('refs/main'), 'utf8')).toBe(commit);
    expect(await readlink(at('snapshots', commit, 'model.safetensors'))).toBe(`../../blobs/${digest(BIG)}`);
    expect(await readlink(at('snapshots', commit, 'unet/config.json'))).toMatch(
      /^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/,
    );
    expect(readdirSync(at('.no_exist', commit))).toEqual(['none.json']);
    expect(readdirSync(at('blobs')).sort()).toEqual(
      [...readdirSync(at('blobs'))].filter((name) => !name.includes('.')),
    );
    expect(readdirSync(cache_dir).sort()).toEqual(['CACHEDIR.TAG', 'models--owner--model']);
  });

  test('what is there is not fetched again; one question finds out', async () => {
    await fetch({}, [...Object.keys(FILES), 'none.json']);
    hub.seen.length = 0;
    const again = await fetch({}, [...Object.keys(FILES), 'none.json']);
    expect(again).toEqual({ files: sums, events: [] });
    expect(hub.seen.map(({ method, path: asked }) => [method, asked])).toEqual([
      ['GET', '/api/models/owner/model/revision/main?blobs=true'],
    ]);
  });

  test('content that another commit had is linked, not fetched', async () => {
    const repo = 'owner/two';
    hub.commit(repo, { 'config.json': '{"a": 1}', 'model.safetensors': BIG });
    await fetch({}, ['config.json', 'model.safetensors'], repo);
    const second = hub.commit(repo, { 'config.json': '{"a": 2}', 'model.safetensors': BIG });
    hub.seen.length = 0;
    await fetch({}, ['config.json', 'model.safetensors'], repo);
    expect(hub.seen.filter(({ host }) => host === 'cdn')).toEqual([]);
    expect(readFileSync(path.join(cache_dir, 'models--owner--two/refs/main'), 'utf8')).toBe(second);
    const [model] = await cache.list({ cache_dir });
    expect(model).toMatchObject({ repo_id: repo, revisions: [{ refs: expect.any(Array) }, {}] });
    expect(model!.revisions.find(({ commit_hash }) => commit_hash === second)!.refs).toEqual(['main']);
    expect(model!.size_on_disk).toBe(BIG.length + 8 + 8 + 40);
    expect([await cache.delete(repo, { cache_dir }), await cache.delete(repo, { cache_dir })]).toEqual([true, false]);
    expect(await cache.list({ cache_dir })).toEqual([]);
  });

  test('copies where links are not allowed', async () => {
    vi.stubEnv('HF_HUB_DISABLE_SYMLINKS', '1');
    await fetch();
    expect(readdirSync(at('blobs'))).toEqual([]); // moved, as Python does
    expect(digest(readFileSync(at('snapshots', commit, 'model.safetensors')))).toBe(digest(BIG));
    hub.seen.length = 0;
    expect((await fetch({ local_files_only: true })).files).toEqual(sums);
  });

  test('a blob that is gone or cut short is fetched again', async () => {
    await fetch();
    truncateSync(at('blobs', digest(BIG)), 1000);
    rmSync(at('snapshots', commit, 'model.safetensors'));
    expect((await fetch()).files).toEqual(sums);
    rmSync(at('blobs', digest(BIG)));
    expect((await fetch()).files).toEqual(sums);
  });

  test('lies where the environment says', async () => {
    const environments: [Record<string, string>, string][] = [
      [{ HF_HUB_CACHE: `${cache_dir}/a`, HF_HOME: `${cache_dir}/no` }, 'a'],
      [{ HF_HOME: `${cache_dir}/b` }, 'b/hub'],
      [{ XDG_CACHE_HOME: `${cache_dir}/c` }, 'c/huggingface/hub'],
      [{ HOME: cache_dir, HF_HOME: '~/d' }, 'd/hub'],
      [{ HERE: cache_dir, HF_HOME: '$HERE/e' }, 'e/hub'],
    ];
    for (const [environment, folder] of environments) {
      for (const name of ['HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HOME', 'XDG_CACHE_HOME'])
        vi.stubEnv(name, undefined);
      for (const [name, value] of Object.entries({ HF_ENDPOINT: hub.endpoint, ...environment }))
        vi.stubEnv(name, value);
      await fetchAll(REPO, ['config.json'], { patience });
      expect(existsSync(path.join(cache_dir, folder, 'models--owner--model/refs/main'))).toBe(true);
    }
  });
});

describe('offline', () => {
  test.each([
    ['local_files_only', { local_files_only: true }, {}],
    ['HF_HUB_OFFLINE', {}, { HF_HUB_OFFLINE: '1' }],
  ])('%s: what is there, and no question', async (_, options, environment) => {
    await fetch();
    hub.seen.length = 0;
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    expect((await fetch(options, [...Object.keys(FILES), 'other.json'])).files).toEqual(sums);
    expect(await message(fetch({ ...options, revision: 'v2' }))).toBe(
      '[hub] owner/model: got nothing of revision "v2" in the cache, want it fetched once; HF_HUB_OFFLINE or local_files_only is on',
    );
    expect(hub.seen).toEqual([]);
    const folder = await hubFolder(REPO, { cache_dir, ...options });
    expect([folder.name, await folder.list()]).toEqual(['owner/model (offline)', ['config.json', 'model.safetensors']]);
  });

  test('a hub that does not answer: what is there', async () => {
    await fetch();
    expect((await fetch({ endpoint: 'http://127.0.0.1:1' })).files).toEqual(sums);
    hub.fault = () => ({ status: 503 });
    expect((await fetch()).files).toEqual(sums);
    expect((await fetch({ revision: commit })).files).toEqual(sums);
  });

  test('and with nothing there, the reason', async () => {
    expect(await message(fetch({ endpoint: 'http://127.0.0.1:1' }))).toMatch(
      /^\[hub\] owner\/model: got no answer from 127\.0\.0\.1:1 \(.+\), want a connection$/,
    );
    hub.fault = () => ({ status: 503 });
    expect(await message(fetch())).toBe(`[hub] owner/model: got status 503 from ${host()}, want 200: try again later`);
    expect(hub.seen).toHaveLength(3);
  });
});

const host = () => new URL(hub.endpoint).host;

describe('answers that say no', () => {
  test('no such model, revision or file', async () => {
    const want = 'want an id that is there; if it is private, a token in HF_TOKEN';
    expect(await message(fetch({}, [], 'owner/none'))).toBe(
      `[hub] owner/none: got no such model on ${host()}, ${want}`,
    );
    await fetch();
    expect(await message(fetch({ revision: 'no/such' }))).toBe(
      `[hub] owner/model: got no revision "no/such", want a branch, tag or commit of ${hub.endpoint}/owner/model`,
    );
    const open = openCheckpoint(REPO, { endpoint: hub.endpoint, cache_dir, subfolder: 'unet' });
    expect(await message(open)).toBe(
      '[owner/model/unet] no weights: got config.json, want model.safetensors or another .safetensors file',
    );
  });

  test('gated and private models; the token goes to the hub and to no other host', async () => {
    hub.commit('owner/gated', FILES, { gated: true, token: 'good' });
    hub.commit('owner/private', FILES, { token: 'good' });
    const files = Object.keys(FILES);
    const page = `${hub.endpoint}/owner/gated`;
    const gated = (token?: string) => message(fetch(token ? { token } : {}, files, 'owner/gated'));
    expect(await gated()).toBe(
      `[hub] owner/gated: got a gated model, want its licence accepted at ${page}, and a token in HF_TOKEN`,
    );
    expect(await gated('bad')).toMatch(/accepted at .*, and a token that may read it in HF_TOKEN$/);
    expect(await message(fetch({ token: 'bad' }, files, 'owner/private'))).toMatch(/got no such model/);

    hub.seen.length = 0;
    writeFileSync(`${cache_dir}/token`, 'good\n');
    expect((await fetch({}, files, 'owner/private')).files).toEqual(sums);
    vi.stubEnv('HF_TOKEN', 'good');
    vi.stubEnv('HF_TOKEN_PATH', '/nowhere');
    expect((await fetch({}, files, 'owner/gated')).files).toEqual(sums);
    const tokens = (where: Seen['host']) => [
      ...new Set(hub.seen.filter((seen) => seen.host === where).map((seen) => seen.token)),
    ];
    expect([tokens('hub'), tokens('cdn')]).toEqual([['Bearer good'], [undefined]]);
    expect(await message(fetch({ token: false }, files, 'owner/gated'))).toBe(undefined); // from the cache
    expect(hub.seen.at(-1)!.token).toBeUndefined();
  });

  test('other refusals', async () => {
    const refuse = async (status: number, headers: Record<string, string> = {}) => {
      hub.fault = () => ({ status, headers });
      return message(fetch());
    };
    const said = { 'x-error-message': 'Invalid credentials in Authorization header' };
    expect(await refuse(401, said)).toMatch(
      /got status 401 \(Invalid cred.*\) from .*, want a valid token in HF_TOKEN, or none$/,
    );
    expect(await refuse(403)).toMatch(/got status 403 from .*, want a token in HF_TOKEN$/);
    expect(await refuse(418)).toMatch(/got status 418 from .*, want 200$/);
    expect(await refuse(301, { location: '/again' })).toMatch(/got more than 10 redirects from .*, want a file$/);
    hub.seen.length = 0;
    expect(await refuse(429, { 'retry-after': '3600' })).toMatch(/got status 429 .*: wait 3600 s, or set HF_TOKEN$/);
    expect(hub.seen).toHaveLength(1);
  });

  test('what is no hub', async () => {
    hub.fault = ({ method }) => (method === 'HEAD' ? { status: 200 } : undefined);
    expect(await message(fetch())).toMatch(/got no ETag and X-Repo-Commit from .*, want a hub: look at HF_ENDPOINT/);
    hub.fault = () => ({ status: 200 });
    expect(await message(fetch())).toMatch(/^\[hub: the answer of .*\] not valid JSON/);
    expect(await message(fetch({ endpoint: 'huggingface.co' }))).toMatch(
      /^\[hub\] endpoint: got "huggingface.co", want/,
    );
  });

  test('names that lead out of the cache', async () => {
    hub.fault = ({ method }) =>
      method === 'HEAD' ? { status: 200, headers: { etag: '"../../x"', 'x-repo-commit': 'a' } } : undefined;
    expect(await message(fetch())).toMatch(/got "\.\.\/\.\.\/x" for a commit or an etag/);
    expect(await message(fetch({ revision: '../../x' }))).toMatch(/not a file name inside the folder/);
    hub.fault = undefined;
    expect(await message(fetch({}, ['../x']))).toMatch(/not a file name inside the folder/);
  });
});

describe('a download', () => {
  const interrupted = async (fault: FakeHub['fault']) => {
    hub.fault = onBlob(fault);
    return message(fetch());
  };
  /** The fault for the first `times` answers with bytes. */
  const first = (times: number, fault: NonNullable<ReturnType<NonNullable<FakeHub['fault']>>>) =>
    onBlob(() => (times-- > 0 ? fault : undefined));

  test('goes on after cut connections, short bodies and silence', async () => {
    const faults = [{ cut: 100_000 }, { short: 100_000 }, { stall: 100_000 }];
    for (const fault of faults) {
      hub.fault = first(2, fault);
      hub.seen.length = 0;
      expect((await fetch()).files).toEqual(sums);
      expect(ranges()).toEqual([undefined, 'bytes=100000-', 'bytes=200000-']);
      await cache.delete(REPO, { cache_dir });
    }
  });

  test('tries a busy server again', async () => {
    hub.fault = first(3, { status: 503 });
    expect((await fetch()).files).toEqual(sums);
    await cache.delete(REPO, { cache_dir });
    hub.fault = onBlob(() => ({ status: 503 }));
    expect(await message(fetch())).toMatch(/got status 503 from .*, want 200: try again later$/);
    hub.fault = first(1, { status: 429, headers: { 'retry-after': '1' } });
    const start = performance.now();
    expect((await fetch()).files).toEqual(sums);
    expect(performance.now() - start).toBeGreaterThan(990);
  });

  test('that was given up is resumed by the next', async () => {
    expect(await interrupted(({ range }) => (range ? { short: 0 } : { cut: 123_456 }))).toMatch(
      /got 123456 bytes of model.safetensors, want 300000: the connection was cut$/,
    );
    expect(readdirSync(at('blobs')).filter((name) => name.endsWith('.incomplete'))).toEqual([
      `${digest(BIG)}.incomplete`,
    ]);
    hub.fault = undefined;
    hub.seen.length = 0;
    expect((await fetch()).files).toEqual(sums);
    expect(ranges()).toEqual(['bytes=123456-']);
    expect(readdirSync(at('blobs')).filter((name) => name.endsWith('.incomplete'))).toEqual([]);
  });

  test('starts again where the server gives no ranges, or refuses this one', async () => {
    for (const fault of [{ noRange: true }, { status: 416 }] as const) {
      await interrupted(({ range }) => (range ? { short: 0 } : { cut: 1000 }));
      hub.fault = onBlob(({ range }) => (range ? fault : undefined));
      expect((await fetch()).files).toEqual(sums);
      await cache.delete(REPO, { cache_dir });
    }
  });

  test('whose earlier part is wrong or too long starts again', async () => {
    for (const part of [noise(1000, 7), noise(BIG.length, 7), noise(BIG.length + 1000, 7)]) {
      await mkdir(at('blobs'), { recursive: true });
      writeFileSync(at('blobs', `${digest(BIG)}.incomplete`), part);
      expect((await fetch()).files).toEqual(sums);
      expect(readFileSync(at('blobs', digest(BIG))).length).toBe(BIG.length);
      await cache.delete(REPO, { cache_dir });
    }
  });

  test('with wrong bytes is refused, large or small', async () => {
    hub.fault = onBlob(() => ({ flip: true }));
    expect(await message(fetch())).toMatch(
      /^\[hub\] model.safetensors: the bytes of .* are not what it promised: got hash [0-9a-f]{64}, want [0-9a-f]{64}\./,
    );
    expect(existsSync(at('blobs', digest(BIG)))).toBe(false);
    hub.fault = ({ path: asked, method }) =>
      method === 'GET' && asked.endsWith('/config.json') ? { flip: true } : undefined;
    expect(await message(fetch({}, ['unet/config.json']))).toMatch(/unet\/config.json: .* got hash [0-9a-f]{40}, want/);
    hub.fault = first(1, { flip: true });
    expect((await fetch()).files).toEqual(sums);
  });

  test('reports its progress, and ends when it is aborted', async () => {
    const events: Progress[] = [];
    const folder = await hubFolder(REPO, {
      endpoint: hub.endpoint,
      cache_dir,
      progress_callback: (e) => events.push(e),
    });
    const source = (await folder.open('model.safetensors'))!;
    await source.fetch!();
    await source.close!();
    const about = { name: REPO, file: 'model.safetensors' };
    expect(events[0]).toEqual({ status: 'download', ...about });
    expect(events.at(-1)).toEqual({ status: 'done', ...about, loaded: BIG.length, total: BIG.length, progress: 100 });
    const loaded = events.flatMap((e) => (e.status === 'progress' ? [e.loaded] : []));
    expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
    expect(events.at(-2)).toMatchObject({ status: 'progress', loaded: BIG.length, progress: 100 });

    await cache.delete(REPO, { cache_dir });
    hub.fault = onBlob(() => ({ stall: 100_000 }));
    const controller = new AbortController();
    const progress_callback = (e: Progress) => e.status === 'progress' && e.loaded > 50_000 && controller.abort();
    const options = { endpoint: hub.endpoint, cache_dir, signal: controller.signal, progress_callback };
    const stopped = (await hubFolder(REPO, options)).open('model.safetensors').then((file) => file!.fetch!());
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
    hub.fault = undefined;
    hub.seen.length = 0;
    expect((await fetch()).files).toEqual(sums);
    expect(Number(/^bytes=(\d+)-$/.exec(ranges()[0] ?? '')?.[1])).toBeGreaterThan(50_000);
  });

  test('to a full disk, or where nothing can be written', async () => {
    await mkdir(at('blobs'), { recursive: true });
    symlinkSync('/dev/full', at('blobs', `${digest(BIG)}.incomplete`));
    expect(await message(fetch())).toBe(
      `[hub] model.safetensors: got a full disk (ENOSPC), want room for its 300000 bytes in ${cache_dir}. ` +
        'What came is kept; HF_HUB_CACHE names another place.',
    );
    writeFileSync(`${cache_dir}/file`, '');
    expect(await message(fetch({ cache_dir: `${cache_dir}/file` }))).toBe(
      `[hub] config.json: cannot be kept in ${cache_dir}/file: got ENOTDIR (mkdir), want a folder that can be written, in HF_HUB_CACHE or cache_dir`,
    );
  });
});

describe('which files', () => {
  const weights = (name: string, size = 100_000) =>
    writeSafetensors([[name, { dtype: 'F32', shape: [size], data: new Float32Array(size) }]]);
  const open = (repo: string, options = {}) =>
    openCheckpoint(repo, { endpoint: hub.endpoint, cache_dir, patience, ...options });
  const tensors = async (repo: string, options = {}) => {
    const checkpoint = await open(repo, options);
    await checkpoint.close();
    return [...checkpoint.tensors.keys()];
  };
  const fetched = () => [
    ...new Set(hub.seen.filter(({ method }) => method === 'GET').map(({ path: asked }) => asked.split('/').at(-1)!)),
  ];
  const index = (map: object) => JSON.stringify({ weight_map: map });

  test('headers by range, weights when they are asked for, nothing else', async () => {
    const all = {
      'config.json': '{}',
      'README.md': 'x',
      'pytorch_model.bin': noise(5000),
      'model.safetensors': weights('a'),
      'model.fp16.safetensors': weights('b'),
      'onnx/model.onnx': noise(5000),
      'unet/model.safetensors': weights('c'),
    };
    hub.commit('owner/many', all);
    const checkpoint = await open('owner/many');
    const { info, source } = checkpoint.tensors.get('a')!;
    expect(ranges()).toEqual([`bytes=0-${2 ** 18 - 1}`]);
    expect(await source.read(info.end - 8, 8)).toEqual(new Uint8Array(8)); // far from the header: a range of its own
    expect(ranges()).toEqual([`bytes=0-${2 ** 18 - 1}`, `bytes=${info.end - 8}-`]);
    await source.fetch!();
    expect(await source.read(info.begin, 8)).toEqual(new Uint8Array(8));
    expect(ranges()).toHaveLength(3);
    await checkpoint.close();
    expect((await cache.list({ cache_dir }))[0]!.revisions[0]!.files).toEqual(['config.json', 'model.safetensors']);

    expect(await tensors('owner/many', { variant: 'fp16' })).toEqual(['b']);
    expect(await tensors('owner/many', { subfolder: 'unet' })).toEqual(['c']);
  });

  test('shards with their index, also of a variant', async () => {
    hub.commit('owner/shards', {
      'config.json': '{}',
      'model.safetensors.index.json': index({
        a: 'model-00001-of-00002.safetensors',
        b: 'model-00002-of-00002.safetensors',
      }),
      'model-00001-of-00002.safetensors': weights('a', 10),
      'model-00002-of-00002.safetensors': weights('b'),
      'model.safetensors.index.fp16.json': index({ c: 'model.fp16-00001-of-00001.safetensors' }),
      'model.fp16-00001-of-00001.safetensors': weights('c'),
    });
    expect(await tensors('owner/shards')).toEqual(['a', 'b']);
    expect(await tensors('owner/shards', { variant: 'fp16' })).toEqual(['c']);
    expect(fetched()).not.toContain('model.fp16.safetensors');
  });

  test('a branch, a pull request, a commit', async () => {
    const repo = 'owner/branches';
    const main = hub.commit(repo, { 'config.json': '{"a": 1}', 'model.safetensors': weights('a') });
    hub.commit(repo, { 'config.json': '{"a": 2}', 'model.safetensors': weights('a') }, { revision: 'refs/pr/1' });
    expect((await open(repo, { revision: 'refs/pr/1' })).config).toEqual({ a: 2 });
    expect((await open(repo, { revision: main })).config).toEqual({ a: 1 });
    const kept = readdirSync(path.join(cache_dir, 'models--owner--branches/refs'), { recursive: true }) as string[];
    expect(kept.sort()).toEqual(['refs', 'refs/pr', 'refs/pr/1']); // a commit needs none
  });

  test('a path that is there is a path; what is neither is told', async () => {
    const folder = path.join(cache_dir, 'here');
    await mkdir(`${folder}/unet`, { recursive: true });
    writeFileSync(`${folder}/unet/model.safetensors`, weights('a', 2));
    expect(await tensors(folder, { subfolder: 'unet' })).toEqual(['a']);
    for (const name of ['none', './none/x', 'a/b/c', 'a--b/c', 'owner/x.git']) {
      expect(await message(open(name))).toBe(`[${name}] no such file or folder, nor an id of the hub (owner/name)`);
    }
    expect(hub.seen).toEqual([]);
  });
});
