// Downloads in a page: into its private file system or Cache Storage, and on after the page was closed in the middle.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Bundles, bundle } from '../runtimes/bundle.ts';
import { closeBrowsers, type Json, runIn } from '../runtimes/launch.ts';
import { digest, noise } from './fake-hub.ts';
import { type Loaded, SIZE } from './hub-model.ts';
import { onBlob, useHub, weights } from './hub-support.ts';

const PART = 2 ** 24;
const HUGE = noise(2 * PART + 1_000_000);
const SUM = digest(HUGE);
const FILES = ['config.json', 'unet/config.json', 'model.safetensors', 'none.json'];
const SUMS = { 'config.json': digest('{"a": 1}'), 'unet/config.json': digest('{}'), 'model.safetensors': SUM };

const self = useHub();
let bundles: Bundles;
beforeAll(async () => {
  bundles = await bundle(new URL('hub-client.ts', import.meta.url));
});
afterAll(closeBrowsers);

describe.each([undefined, 'opfs'] as const)('a page without %s', (without) => {
  const repo = `owner/without-${without ?? 'nothing'}`;
  const wish = (more = {}): { [key: string]: Json } => ({
    repo,
    files: FILES,
    options: { endpoint: self.hub.endpoint, token: 'good', ...more },
    ...(without && { without }),
  });

  test('a page that is closed half-way, and one that goes on', async () => {
    const files = { 'config.json': '{"a": 1}', 'unet/config.json': '{}', 'model.safetensors': HUGE };
    const commit = self.hub.commit(repo, files, { token: 'good' });
    let asked = false;
    self.hub.fault = onBlob(() => {
      asked = true;
      return { stall: PART + 5_000_000 };
    });
    const closed = runIn('chromium-page', bundles, wish(), { timeout: 6000 }); // the launcher closes it then
    await expect(closed).rejects.toThrow('took longer');
    expect(asked).toBe(true);

    self.hub.seen.length = 0;
    self.hub.fault = undefined;
    const found = await runIn('chromium-page', bundles, wish());
    expect(found).toMatchObject({
      files: SUMS,
      kept: [{ repo_id: repo, revisions: [{ commit_hash: commit, refs: ['main'] }] }],
    });
    expect(self.ranges()).toEqual([`bytes=${PART}-`]);
    const tokens = (host: string) => [
      ...new Set(self.hub.seen.filter((seen) => seen.host === host).map(({ token }) => token)),
    ];
    expect([tokens('hub'), tokens('cdn')]).toEqual([['Bearer good'], [undefined]]);
  });

  test('then all is there without a question, and can be forgotten', async () => {
    self.hub.seen.length = 0;
    const found = await runIn('chromium-page', bundles, { ...wish({ local_files_only: true }), forget: true });
    expect(found).toMatchObject({ files: SUMS, events: [], gone: true, left: 0 });
    expect(self.hub.seen).toEqual([]);
  });
});

test('two pages at once fetch a file once', async () => {
  const repo = 'owner/twice';
  self.hub.commit(repo, { 'model.safetensors': noise(2_000_000, 5) });
  self.hub.fault = onBlob(() => ({ slow: 50_000 }));
  const wish = { repo, files: ['model.safetensors'], options: { endpoint: self.hub.endpoint } };
  const first = runIn('chromium-page', bundles, wish);
  await sleep(200);
  const files = { 'model.safetensors': digest(noise(2_000_000, 5)) };
  expect(await Promise.all([first, runIn('chromium-worker', bundles, { ...wish, forget: true })])).toMatchObject([
    { files },
    { files },
  ]);
  expect(self.ranges()).toHaveLength(1);
});

test('wrong bytes are refused', async () => {
  self.hub.commit('owner/wrong', { 'model.safetensors': noise(400_000, 6) });
  self.hub.fault = onBlob(() => ({ flip: true }));
  const wish = { repo: 'owner/wrong', files: ['model.safetensors'], options: { endpoint: self.hub.endpoint } };
  await expect(runIn('chromium-page', bundles, wish)).rejects.toThrow(/not what it promised: got hash [0-9a-f]{64}/);
});

test('a model: from its id to the GPU of a page', async () => {
  const repo = 'owner/model-of-a-page';
  self.hub.commit(repo, { 'config.json': '{}', 'model.safetensors': weights('a', SIZE) });
  const program = await bundle(new URL('hub-model.ts', import.meta.url));
  const found = await runIn('chromium-page', program, { repo, options: { endpoint: self.hub.endpoint } });
  expect(found).toMatchObject({ sum: (SIZE * (SIZE - 1)) / 2 });
  const { events, again } = found as Loaded;
  expect(events.filter((event) => event.startsWith('download'))).toEqual([
    'download config.json',
    'download model.safetensors',
  ]);
  expect(again).toEqual([`initiate ${repo}`, 'progress model.safetensors', `ready ${repo}`]);
});
