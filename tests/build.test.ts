// What is built is built again only when it is older than what it is made of.
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { isNewer } from '../src/build/build.js';

const root = await mkdtemp(path.join(tmpdir(), 'tessera-build-'));
afterAll(() => rm(root, { recursive: true }));

it('dist/ is newer than its sources, or is built', async () => {
  const [dist, src, file] = ['dist', 'src', 'package.json'].map((name) => path.join(root, name)) as [
    string,
    ...string[],
  ];
  for (const folder of [dist, path.join(src!, 'deep')]) await mkdir(folder, { recursive: true });
  const deep = path.join(src!, 'deep', 'a.ts');
  for (const name of [deep, file!]) await writeFile(name, '');
  const check = () => isNewer(dist, [src!, file!]);
  expect(await check()).toBe(false); // nothing is built
  const later = Date.now() / 1000 + 10;
  for (const name of ['index.js', 'browser.js', 'worker.js', 'cli.js']) {
    expect(await check()).toBe(false);
    await writeFile(path.join(dist, name), '');
    await utimes(path.join(dist, name), later, later);
  }
  expect(await check()).toBe(true);
  await utimes(deep, later, later + 10);
  expect(await check()).toBe(false);
  await utimes(deep, later, later - 10);
  await utimes(file!, later, later + 10);
  expect(await check()).toBe(false);
});
