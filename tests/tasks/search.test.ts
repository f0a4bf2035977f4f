// Search in a folder: what is found, what is kept between searches, and folders as people have them.
import { copyFileSync, existsSync } from 'node:fs';
import { link, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { encodePng } from '../../src/io/image.ts';
import { findPictures } from '../../src/io/pictures.ts';
import { embedder } from '../../src/tasks/embedder.ts';
import { type Searcher, searcher, type UpdateOptions } from '../../src/tasks/search.ts';
import { type Entries, openIndex } from '../../src/tasks/search-index.ts';
import { shipped } from '../../src/tasks/shipped.ts';
import { captioned, openWorld, render } from '../../src/world/index.ts';
import { tinyFolder, withNumber } from './support.ts';

const clip = tinyFolder('clip');
vi.setConfig({ testTimeout: 300_000 }); // a software adapter compiles each kernel first

let root: string;
let folder: string;
let search: Searcher;

const full = (name: string) => path.join(folder, name);
const INDEX = '.tessera-search-tiny';

/** A picture of one colour, which `seed` chooses. */
const png = (seed: number) =>
  encodePng({
    width: 8,
    height: 8,
    channels: 3,
    data: new Uint8Array(192).fill(0).map((_, i) => (i % 3 ? seed * 37 : 255 - seed * 11)),
  });
const draw = async (name: string, seed: number) => writeFile(full(name), await png(seed));

/** What a search makes of the folder as it is now. */
async function update(by = search, options: UpdateOptions = {}) {
  const told: string[] = [];
  const files = await findPictures(folder, (_, { message }) => told.push(message));
  const tell = (message: string) => void told.push(message.replaceAll(folder, 'FOLDER').replaceAll(root, 'ROOT'));
  const on_error = (_: string, message: string) => tell(message);
  const { index, ...numbers } = await by.update(files, { on_error, on_note: tell, ...options });
  return { ...numbers, index: index?.replace(folder, 'FOLDER').replace(root, 'ROOT'), told };
}
const kept = (more: object) => ({ dropped: 0, index: `FOLDER/${INDEX}`, told: [], ...more });
const scores = async (words = 'a cat', by = search) =>
  Object.fromEntries((await by(words, 1e6)).map(({ picture, score }) => [picture, score]));

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'tessera-search-'));
  vi.stubEnv('XDG_CACHE_HOME', path.join(root, 'cache'));
});
beforeEach(async () => {
  folder = await mkdtemp(path.join(root, 'pictures-'));
  search = await searcher(folder, clip, 'tiny');
});
afterEach(() => {
  search.dispose();
  vi.restoreAllMocks();
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(root, { recursive: true });
});

test('the best are those with the largest cosines, also by another search from the index alone', async () => {
  await mkdir(full('inside'));
  const names = ['a.png', 'b.png', 'c.png', 'inside/d.png', 'inside/e.png'];
  for (const [i, name] of names.entries()) await draw(name, i);
  expect(await update(search, { batch_size: 2 })).toEqual(kept({ pictures: 5, embedded: 5 }));

  using texts = await embedder(clip, 'texts');
  using pictures = await embedder(clip, 'pictures');
  const { data: words } = await texts(['a cat'], { normalize: true });
  const rows = await pictures(names.map(full), { normalize: true });
  const want = names.map((picture, n) => ({
    picture,
    score: words.reduce((sum, value, i) => sum + value * rows.data[n * words.length + i]!, 0),
  }));
  want.sort((a, b) => b.score - a.score);
  expect(await search('a cat', 3)).toEqual(want.slice(0, 3));

  using other = await searcher(folder, clip, 'tiny');
  expect(await update(other)).toEqual(kept({ pictures: 5, embedded: 0 }));
  expect(await other('a cat', 3)).toEqual(want.slice(0, 3));
  expect((await readdir(folder)).sort()).toEqual([INDEX, 'a.png', 'b.png', 'c.png', 'inside']);
});

test('only what is new or changed is embedded again; what is gone is forgotten', async () => {
  for (const [i, name] of ['a.png', 'b.png', 'c.png', 'd.png'].entries()) await draw(name, i);
  await update();
  const before = await scores();
  await rm(full('b.png'));
  await draw('c.png', 9);
  await utimes(full('c.png'), 1, 2);
  await rename(full('d.png'), full('e.png'));
  expect(await update()).toEqual(kept({ pictures: 3, embedded: 2, dropped: 2 }));
  const after = await scores();
  expect(Object.keys(after).sort()).toEqual(['a.png', 'c.png', 'e.png']);
  expect([after['a.png'], after['e.png']]).toEqual([before['a.png'], before['d.png']]);
  expect(after['c.png']).not.toBe(before['c.png']);
  expect(await update()).toEqual(kept({ pictures: 3, embedded: 0 }));
});

test('what cannot be read is told each time and tried once; the rest is found', async () => {
  await draw('a.png', 1);
  await writeFile(full('text.png'), 'hello');
  const huge = await png(1);
  new DataView(huge.buffer).setUint32(16, 20_000);
  new DataView(huge.buffer).setUint32(20, 20_000);
  await writeFile(full('huge.png'), huge);
  const told = [
    '[FOLDER/huge.png] the picture is too large: got 20000 x 20000, want at most 100 megapixels',
    '[FOLDER/text.png] cannot be read as a picture: this is no known file type, want PNG, JPEG or WebP',
  ];
  expect(await update()).toEqual(kept({ pictures: 1, embedded: 1, told }));
  const progress = vi.fn();
  expect(await update(search, { on_progress: progress })).toEqual(kept({ pictures: 1, embedded: 0, told }));
  expect(progress).not.toHaveBeenCalled();
  await draw('text.png', 2);
  expect(await update()).toEqual(kept({ pictures: 2, embedded: 1, told: [told[0]] }));
});

test('an interrupted search goes on where it was', async () => {
  for (let i = 0; i < 6; i++) await draw(`${i}.png`, i);
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 6000)); // every batch is a save
  const interrupted = update(search, {
    batch_size: 2,
    on_progress: (done) => {
      if (done === 4) throw new Error('interrupted');
    },
  });
  await expect(interrupted).rejects.toThrow('interrupted');
  expect(await update()).toEqual(kept({ pictures: 6, embedded: 2 }));
});

test('what is there when a process is killed is whole, and its drafts are swept away', async () => {
  for (let i = 0; i < 4; i++) await draw(`${i}.png`, i);
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 6000));
  const saved = path.join(root, 'saved');
  await update(search, {
    batch_size: 2,
    on_progress: (done) => {
      if (done === 2) copyFileSync(full(INDEX), saved);
    },
  });
  await rename(saved, full(INDEX));
  const [old, young] = [full(`${INDEX}.abc.part`), full(`${INDEX}.def.part`)];
  for (const draft of [old, young]) await writeFile(draft, 'half');
  await utimes(old, 1, 1);
  using other = await searcher(folder, clip, 'tiny');
  const { pictures, embedded } = await update(other);
  expect({ pictures, embedded }).toEqual({ pictures: 4, embedded: 2 });
  expect([existsSync(old), existsSync(young)]).toEqual([false, true]);
});

test('an index of other weights, or a damaged one, is told and made anew; another name has its own', async () => {
  for (let i = 0; i < 3; i++) await draw(`${i}.png`, i);
  await update();
  const before = await scores();
  const weights = { 'model.safetensors': withNumber('clip', 'visual_projection.weight', 0.5) };
  using trained = await searcher(folder, tinyFolder('clip', weights), 'tiny');
  const anew = { pictures: 3, embedded: 3 };
  const told = [`[FOLDER/${INDEX}] was made by tiny with other weights or settings; a new one is made`];
  expect(await update(trained)).toEqual(kept({ ...anew, told }));
  expect(await update(trained)).toEqual(kept({ pictures: 3, embedded: 0 }));
  expect(await scores('a cat', trained)).not.toEqual(before);

  using named = await searcher(folder, clip, 'odd/na\nme');
  expect(await update(named)).toEqual(kept({ ...anew, index: 'FOLDER/.tessera-search-odd-na-me' }));
  expect(await update(trained)).toEqual(kept({ pictures: 3, embedded: 0 }));
  await rename(full('.tessera-search-odd-na-me'), full(INDEX));
  expect((await update()).told).toEqual([
    `[FOLDER/${INDEX}] was made by another model (${JSON.stringify('odd/na\nme')}); a new one is made`,
  ]);

  await writeFile(full(INDEX), 'hello, no index');
  expect((await update()).told).toEqual([expect.stringMatching(/^\[.*not a safetensors file.*; a new one is made$/)]);
  expect(await update()).toEqual(kept({ pictures: 3, embedded: 0 }));
  expect(await scores()).toEqual(before);
});

test('where the folder takes no file the index is in the cache; where that takes none either, it is told', async () => {
  await draw('a.png', 1);
  await mkdir(full(INDEX)); // no file can be there, not even root's
  const inCache = { pictures: 1, index: expect.stringMatching(/^ROOT\/cache\/tessera\/search\/[0-9a-f]{16}-tiny$/) };
  const told = [`[FOLDER/${INDEX}] is not a file: want a path of a file here; a new one is made`];
  expect(await update()).toMatchObject({ ...inCache, embedded: 1, told });
  expect(await update()).toMatchObject({ ...inCache, embedded: 0, told: [] });
  await rm(path.join(root, 'cache'), { recursive: true });
  await writeFile(path.join(root, 'cache'), '');
  const { told: last, ...rest } = await update();
  await rm(path.join(root, 'cache'));
  expect(rest).toEqual({ pictures: 1, embedded: 1, dropped: 0, index: undefined });
  expect(last.slice(1)).toEqual([expect.stringMatching(/cannot be written: .*; the next search starts anew$/)]);
});

test('names of every kind; links; what is no picture', async () => {
  const odd = [
    'new\nline.png',
    '🦉 owl.PNG',
    '\u202egnp.txt.png',
    `${'ä'.repeat(123)}.png`,
    'no ending',
    'qu\'o"te$(x).jpeg',
    ' .webp',
  ];
  for (const [i, name] of odd.entries()) await draw(name, i);
  await mkdir(full('.hidden'));
  for (const name of ['.hidden/a.png', '.b.png', 'c.txt']) await draw(name, 1);
  await writeFile(full('README'), 'no picture');
  await mkdir(full('deep/er'), { recursive: true });
  await draw('deep/er/d.png', 3);
  await symlink('..', full('deep/loop'));
  await symlink('self.png', full('self.png'));
  await symlink('nowhere', full('gone.png'));
  await symlink('deep/er', full('again'));
  const elsewhere = await mkdtemp(path.join(root, 'elsewhere-'));
  await writeFile(path.join(elsewhere, 'e.png'), await png(5));
  await symlink(elsewhere, full('linked'));
  const found = await update();
  const names = [...odd, 'deep/er/d.png', 'linked/e.png'];
  const missing = 'is not there: is it a link to nothing, or its name not UTF-8?';
  const told = expect.arrayContaining(['gone.png', 'self.png'].map((name) => `[${full(name)}] ${missing}`));
  expect(found).toEqual(kept({ pictures: names.length, embedded: names.length, told }));
  expect(found.told).toHaveLength(2);
  expect(Object.keys(await scores()).sort()).toEqual([...names].sort());
  expect(await update()).toMatchObject({ embedded: 0 });
});

test('of 200 drawn scenes, words find those that they are true of', async () => {
  const world = await openWorld(async (file) => readFile(await shipped(`world/${file}`)));
  const scenes = Array.from({ length: 200 }, (_, index) =>
    captioned(world, { seed: 5, index, split: 'unseen' }, { detail: 'full' }),
  );
  for (const [i, { scene }] of scenes.entries())
    await writeFile(full(`${i}.png`), await encodePng(render(world, scene)));
  using drawn = await searcher(folder, await shipped('tessera-clip'), 'tessera-clip');
  expect(await update(drawn, { batch_size: 40 })).toMatchObject({ pictures: 200, embedded: 200, told: [] });
  const ranks: number[] = [];
  for (const [i, { caption }] of scenes.slice(0, 20).entries()) {
    ranks.push(1 + (await drawn(caption, 200)).findIndex(({ picture }) => picture === `${i}.png`));
  }
  const median = ranks.sort((a, b) => a - b)[10]!;
  expect(median).toBeLessThan(40); // 24; chance is 100
});

test('10,000 files are listed, and kept', async () => {
  await draw('0.png', 1);
  const all = Array.from({ length: 9999 }, (_, i) => link(full('0.png'), full(`${i + 1}.png`)));
  await Promise.all(all);
  const files = await findPictures(folder, () => {});
  expect(files).toHaveLength(10_000);
  const maker = { name: 'tiny', dtype: 'f32', hash: 'x' };
  const entries: Entries = new Map(
    files.map(({ name, ...rest }, i) => [name, { ...rest, row: new Float32Array(512).fill(i) }]),
  );
  await (await openIndex(folder, maker)).save(entries);
  const again = await openIndex(folder, maker);
  expect(again.entries.size).toBe(10_000);
  expect(again.entries.get(files[4321]!.name)).toEqual(entries.get(files[4321]!.name));
});
