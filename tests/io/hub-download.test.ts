// Downloads from the hub: cut, wrong, late, given up - what lies in the cache is what was promised. And which files come.
import { existsSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { cache } from '../../src/io/cache.ts';
import { openCheckpoint } from '../../src/io/checkpoint.ts';
import type { Progress } from '../../src/io/download.ts';
import { hubFolder } from '../../src/io/hub-folder.ts';
import { pretrained } from '../../src/io/pretrained.ts';
import { digest, type Fault, noise, type Seen } from './fake-hub.ts';
import { load, SIZE } from './hub-model.ts';
import { BIG, message, onBlob, patience, REPO, SUMS, useHub, weights } from './hub-support.ts';

const self = useHub();

describe('a download', () => {
  const interrupted = async (fault: (seen: Seen) => Fault | undefined) => {
    self.hub.fault = onBlob(fault);
    return message(self.fetch());
  };
  /** The fault for the first `times` answers with bytes. */
  const first = (times: number, fault: Fault) => onBlob(() => (times-- > 0 ? fault : undefined));

  test('goes on after cut connections, short bodies and silence', async () => {
    const faults = [{ cut: 100_000 }, { short: 100_000 }, { stall: 100_000 }];
    for (const fault of faults) {
      self.hub.fault = first(2, fault);
      self.hub.seen.length = 0;
      expect((await self.fetch()).files).toEqual(SUMS);
      expect(self.ranges()).toEqual([undefined, 'bytes=100000-', 'bytes=200000-']);
      await cache.delete(REPO, { cache_dir: self.cache_dir });
    }
  });

  test('tries a busy server again', async () => {
    self.hub.fault = first(3, { status: 503 });
    expect((await self.fetch()).files).toEqual(SUMS);
    await cache.delete(REPO, { cache_dir: self.cache_dir });
    self.hub.fault = onBlob(() => ({ status: 503 }));
    expect(await message(self.fetch())).toMatch(/got status 503 from .*, want 200: try again later$/);
    self.hub.fault = first(1, { status: 429, headers: { 'retry-after': '1' } });
    const start = performance.now();
    expect((await self.fetch()).files).toEqual(SUMS);
    expect(performance.now() - start).toBeGreaterThan(990);
  });

  test('that was given up is resumed by the next', async () => {
    expect(await interrupted(({ range }) => (range ? { short: 0 } : { cut: 123_456 }))).toMatch(
      /got 123456 bytes of model.safetensors, want 300000: the connection was cut$/,
    );
    expect(readdirSync(self.at('blobs')).filter((name) => name.endsWith('.incomplete'))).toEqual([
      `${digest(BIG)}.incomplete`,
    ]);
    self.hub.fault = undefined;
    self.hub.seen.length = 0;
    expect((await self.fetch()).files).toEqual(SUMS);
    expect(self.ranges()).toEqual(['bytes=123456-']);
    expect(readdirSync(self.at('blobs')).filter((name) => name.endsWith('.incomplete'))).toEqual([]);
  });

  test('starts again where the server gives no ranges, or refuses this one', async () => {
    for (const fault of [{ noRange: true }, { status: 416 }] as const) {
      await interrupted(({ range }) => (range ? { short: 0 } : { cut: 1000 }));
      self.hub.fault = onBlob(({ range }) => (range ? fault : undefined));
      expect((await self.fetch()).files).toEqual(SUMS);
      await cache.delete(REPO, { cache_dir: self.cache_dir });
    }
  });

  test('whose earlier part is wrong or too long starts again', async () => {
    for (const part of [noise(1000, 7), noise(BIG.length, 7), noise(BIG.length + 1000, 7)]) {
      await mkdir(self.at('blobs'), { recursive: true });
      const draft = self.at('blobs', `${digest(BIG)}.incomplete`);
      writeFileSync(draft, part);
      utimesSync(draft, 0, 0); // long ago: nobody is at it
      expect((await self.fetch()).files).toEqual(SUMS);
      expect(readFileSync(self.at('blobs', digest(BIG))).length).toBe(BIG.length);
      await cache.delete(REPO, { cache_dir: self.cache_dir });
    }
  });

  test('that was complete but for its name is only checked', async () => {
    await mkdir(self.at('blobs'), { recursive: true });
    writeFileSync(self.at('blobs', `${digest(BIG)}.incomplete`), BIG);
    expect((await self.fetch()).files).toEqual(SUMS);
    expect(self.ranges()).toEqual([]);
  });

  test('with wrong bytes is refused, large or small', async () => {
    self.hub.fault = onBlob(() => ({ flip: true }));
    expect(await message(self.fetch())).toMatch(
      /^\[hub\] model.safetensors: the bytes of .* are not what it promised: got hash [0-9a-f]{64}, want [0-9a-f]{64}\./,
    );
    expect(existsSync(self.at('blobs', digest(BIG)))).toBe(false);
    self.hub.fault = ({ path: asked, method }) =>
      method === 'GET' && asked.endsWith('/config.json') ? { flip: true } : undefined;
    expect(await message(self.fetch({}, ['unet/config.json']))).toMatch(
      /unet\/config.json: .* got hash [0-9a-f]{40}, want/,
    );
    self.hub.fault = first(1, { flip: true });
    expect((await self.fetch()).files).toEqual(SUMS);
  });

  test('reports its progress, and ends when it is aborted', async () => {
    const events: Progress[] = [];
    const folder = await hubFolder(REPO, {
      endpoint: self.hub.endpoint,
      cache_dir: self.cache_dir,
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

    await cache.delete(REPO, { cache_dir: self.cache_dir });
    self.hub.fault = onBlob(() => ({ stall: 100_000 }));
    const controller = new AbortController();
    const progress_callback = (e: Progress) => e.status === 'progress' && e.loaded > 50_000 && controller.abort();
    const options = {
      endpoint: self.hub.endpoint,
      cache_dir: self.cache_dir,
      signal: controller.signal,
      progress_callback,
    };
    const stopped = (await hubFolder(REPO, options)).open('model.safetensors').then((file) => file!.fetch!());
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
    self.hub.fault = undefined;
    self.hub.seen.length = 0;
    expect((await self.fetch()).files).toEqual(SUMS);
    expect(Number(/^bytes=(\d+)-$/.exec(self.ranges()[0] ?? '')?.[1])).toBeGreaterThan(50_000);
  });

  test('to a full disk, or where nothing can be written', async () => {
    await mkdir(self.at('blobs'), { recursive: true });
    symlinkSync('/dev/full', self.at('blobs', `${digest(BIG)}.incomplete`));
    expect(await message(self.fetch())).toBe(
      `[hub] model.safetensors: got a full disk (ENOSPC), want room for its 300000 bytes in ${self.cache_dir}. ` +
        'What came is kept; HF_HUB_CACHE names another place.',
    );
    expect(await message(self.fetch({ cache_dir: '/proc/none' }))).toContain(
      'cannot be kept in /proc/none: got ENOENT',
    );
    writeFileSync(`${self.cache_dir}/file`, '');
    expect(await message(self.fetch({ cache_dir: `${self.cache_dir}/file` }))).toBe(
      `[hub] config.json: cannot be kept in ${self.cache_dir}/file: got ENOTDIR (mkdir), want a folder that can be written, in HF_HUB_CACHE or cache_dir`,
    );
  });
});

describe('which files', () => {
  const open = (repo: string, options = {}) =>
    openCheckpoint(repo, { endpoint: self.hub.endpoint, cache_dir: self.cache_dir, patience, ...options });
  const tensors = async (repo: string, options = {}) => {
    const checkpoint = await open(repo, options);
    await checkpoint.close();
    return [...checkpoint.tensors.keys()];
  };
  const fetched = () => [
    ...new Set(
      self.hub.seen.filter(({ method }) => method === 'GET').map(({ path: asked }) => asked.split('/').at(-1)!),
    ),
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
    self.hub.commit('owner/many', all);
    const checkpoint = await open('owner/many');
    const { info, source } = checkpoint.tensors.get('a')!;
    expect(self.ranges()).toEqual([`bytes=0-${2 ** 18 - 1}`]);
    const at = async (offset: number) => new Float32Array((await source.read(offset, 4)).buffer)[0];
    expect(await at(info.end - 4)).toBe(99_999); // far from the header: a range of its own
    expect(self.ranges()).toEqual([`bytes=0-${2 ** 18 - 1}`, `bytes=${info.end - 4}-`]);
    await source.fetch!();
    expect([await at(info.begin + 4), await at(info.end - 4)]).toEqual([1, 99_999]);
    expect(self.ranges()).toHaveLength(3);
    await checkpoint.close();
    expect((await cache.list({ cache_dir: self.cache_dir }))[0]!.revisions[0]!.files).toEqual([
      'config.json',
      'model.safetensors',
    ]);

    expect(await tensors('owner/many', { variant: 'fp16' })).toEqual(['b']);
    expect(await tensors('owner/many', { subfolder: 'unet' })).toEqual(['c']);
  });

  test('a model: what does not fit is told before its weights come, then they do, once', async () => {
    self.hub.commit('owner/fits', { 'config.json': '{}', 'model.safetensors': weights('a') });
    const options = { endpoint: self.hub.endpoint, cache_dir: self.cache_dir };
    const other = pretrained('Other', (w) => ({ b: w.get('b', [2]) }));
    expect(await message(other.from_pretrained('owner/fits', options))).toMatch(
      /does not fit its config: 1 missing: b/,
    );
    expect(self.ranges()).toEqual([`bytes=0-${2 ** 18 - 1}`]);

    const { sum, events, again } = await load('owner/fits', options);
    expect(sum).toBe((SIZE * (SIZE - 1)) / 2);
    const file = 'model.safetensors';
    const loading = ['initiate owner/fits', `progress ${file}`, 'ready owner/fits'];
    expect(events).toEqual([`download ${file}`, `progress ${file}`, `done ${file}`, ...loading]);
    expect(again).toEqual(loading);
  });

  test('shards with their index, also of a variant', async () => {
    self.hub.commit('owner/shards', {
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
    const main = self.hub.commit(repo, { 'config.json': '{"a": 1}', 'model.safetensors': weights('a') });
    self.hub.commit(repo, { 'config.json': '{"a": 2}', 'model.safetensors': weights('a') }, { revision: 'refs/pr/1' });
    expect((await open(repo, { revision: 'refs/pr/1' })).config).toEqual({ a: 2 });
    expect((await open(repo, { revision: main })).config).toEqual({ a: 1 });
    const kept = readdirSync(path.join(self.cache_dir, 'models--owner--branches/refs'), {
      recursive: true,
    }) as string[];
    expect(kept.sort()).toEqual(['refs', 'refs/pr', 'refs/pr/1']); // a commit needs none
  });

  test('a path that is there is a path; what is neither is told', async () => {
    const folder = path.join(self.cache_dir, 'here');
    await mkdir(`${folder}/unet`, { recursive: true });
    writeFileSync(`${folder}/unet/model.safetensors`, weights('a', 2));
    expect(await tensors(folder, { subfolder: 'unet' })).toEqual(['a']);
    for (const name of ['none', './none/x', 'a/b/c', 'a--b/c', 'owner/x.git']) {
      expect(await message(open(name))).toBe(`[${name}] no such file or folder, nor an id of the hub (owner/name)`);
    }
    expect(self.hub.seen).toEqual([]);
  });
});
