// Downloads in processes of their own: killed at any byte and gone on with, several at once, in every runtime.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import { type Bundles, bundle } from '../runtimes/bundle.ts';
import { type Json, runIn } from '../runtimes/launch.ts';
import { digest, noise } from './fake-hub.ts';
import type { Fetched } from './hub-client.ts';
import { onBlob, useHub } from './hub-support.ts';

const HUGE = noise(3_000_000);
const REPO = 'owner/model';
const FILES = ['config.json', 'model.safetensors', 'none.json'];
const SUM = digest(HUGE);

const self = useHub();
let bundles: Bundles;
beforeAll(async () => {
  bundles = await bundle(new URL('hub-client.ts', import.meta.url));
  self.hub.commit(REPO, { 'config.json': '{}', 'model.safetensors': HUGE });
});

const wish = (): { [key: string]: Json } => ({
  repo: REPO,
  files: FILES,
  options: { endpoint: self.hub.endpoint, cache_dir: self.cache_dir },
});
const draft = () => statSync(self.at('blobs', `${SUM}.incomplete`), { throwIfNoEntry: false })?.size ?? 0;

/** A process that fetches; it is over when it is done or killed. */
function client() {
  const deno = (globalThis as { Deno?: object }).Deno ? ['run', '--allow-all', '--no-lock', '--quiet'] : [];
  const child = spawn(process.execPath, [...deno, 'tests/runtimes/child.js'], { stdio: ['pipe', 'ignore', 'inherit'] });
  child.stdin.on('error', () => {});
  child.stdin.write(`${JSON.stringify({ bundle: bundles.node, options: wish(), marker: '', limit: 30_000 })}\n`);
  return { child, over: new Promise<number | null>((resolve) => child.on('close', resolve)) };
}

test('killed at any byte, it goes on from there, and the hash is right', async () => {
  const kills = [1, 65_536, 1_234_567, 2_999_999]; // bytes that have come
  for (const at of kills) {
    const before = draft();
    self.hub.fault = onBlob(() => ({ stall: at - before }));
    const { child, over } = client();
    while (draft() < at) await sleep(5);
    child.kill('SIGKILL');
    await over;
    expect(draft()).toBe(at);
  }
  self.hub.fault = undefined;
  const { files } = (await runIn('node', bundles, wish())) as Fetched;
  expect(files['model.safetensors']).toBe(SUM);
  expect(self.ranges().filter((range) => range?.endsWith('-'))).toEqual(kills.map((at) => `bytes=${at}-`));
});

test('killed at any time, the cache is never wrong', async () => {
  self.hub.fault = onBlob(() => ({ slow: 30_000 }));
  for (const ms of [20, 150, 300, 450, 600, 750]) {
    const { child, over } = client();
    await sleep(ms);
    child.kill('SIGKILL');
    await over;
    const names = readdirSync(self.cache_dir).includes('models--owner--model') ? readdirSync(self.at('blobs')) : [];
    if (names.includes(SUM)) expect(digest(readFileSync(self.at('blobs', SUM)))).toBe(SUM);
  }
  const { files } = (await runIn('node', bundles, wish())) as Fetched;
  expect(files).toEqual({ 'config.json': digest('{}'), 'model.safetensors': SUM });
  expect(readdirSync(self.at('blobs')).filter((name) => name.includes('.'))).toEqual([]);
});

test('several processes at once, of all runtimes, get one cache that is right', async () => {
  self.hub.fault = onBlob(() => ({ slow: 30_000 }));
  const runs = (['node', 'bun', 'deno', 'node'] as const).map((runtime) => runIn(runtime, bundles, wish()));
  for (const found of (await Promise.all(runs)) as Fetched[]) {
    expect(found.files).toEqual({ 'config.json': digest('{}'), 'model.safetensors': SUM });
  }
  expect(readdirSync(self.at('blobs'))).toHaveLength(2);
  expect(self.ranges().length).toBeLessThan(runs.length); // some waited for what others fetched
  expect(digest(readFileSync(self.at('blobs', SUM)))).toBe(SUM);
});

test.each(['bun', 'deno'] as const)('%s fetches, goes on, links and forgets', async (runtime) => {
  self.hub.fault = onBlob(({ range }) => (range?.endsWith('-') ? undefined : { cut: 1_000_000 }));
  const first = (await runIn(runtime, bundles, wish())) as Fetched;
  expect(first.files).toEqual({ 'config.json': digest('{}'), 'model.safetensors': SUM });
  expect(self.ranges()).toContain('bytes=1000000-');
  expect(
    digest(readFileSync(self.at('snapshots', readFileSync(self.at('refs/main'), 'utf8'), 'model.safetensors'))),
  ).toBe(SUM);
  const second = await runIn(runtime, bundles, { ...wish(), forget: true });
  expect(second).toMatchObject({ files: first.files, events: [], gone: true, left: 0, kept: [{ repo_id: REPO }] });
});
