// tessera search from outside: what it prints, and what becomes of a run that is interrupted.
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodePng } from '../../src/io/image.ts';
import { tinyFolder } from '../tasks/support.ts';
import { asModel, build, makeFolder, PATIENCE, ROOT, tessera } from './run.ts';

let folder: string;
let model: string[];
const PICTURES = 12;

/** A folder of pictures of one colour each. */
async function makePictures(name: string): Promise<string> {
  const place = path.join(folder, name);
  await mkdir(path.join(ROOT, place));
  for (let n = 0; n < PICTURES; n++) {
    const data = new Uint8Array(192).map((_, i) => (i % 3 ? n * 20 : 255 - n * 20));
    await writeFile(path.join(ROOT, place, `${n}.png`), await encodePng({ width: 8, height: 8, channels: 3, data }));
  }
  return place;
}
const inFolder = (text: string) => text.replaceAll(folder, 'FOLDER');

beforeAll(async () => {
  folder = await makeFolder();
  model = await asModel(tinyFolder('clip'), path.join(folder, 'clip'));
  await build();
}, PATIENCE);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

test(
  'prints the best with their scores, or a document; one that cannot be read is told and the exit code is 2',
  async () => {
    const place = await makePictures('pictures');
    await writeFile(path.join(ROOT, place, 'te\nxt.png'), 'hello');
    const { code, out, err } = await tessera(['search', place, 'a', 'cat', '--top', '3', ...model]);
    expect({ code, err: inFolder(err) }).toMatchInlineSnapshot(`
      {
        "code": 2,
        "err": "error: [FOLDER/pictures/te; xt.png] cannot be read as a picture: this is no known file type, want PNG, JPEG or WebP
      error: [search] left out 1 of 13 pictures, see above
      ",
      }
    `);
    const line = /^[ -]0\.\d{3} {2}FOLDER\/pictures\/\d+\.png$/;
    expect(inFolder(out).trimEnd().split('\n')).toEqual(Array(3).fill(expect.stringMatching(line)));

    const again = await tessera(['search', place, 'a cat', '--json', ...model]);
    const { results, failed, time_ms: _, model: of, ...rest } = JSON.parse(again.out);
    expect(of.model_type).toBe('clip');
    expect(rest).toMatchObject({
      command: 'search',
      folder: place,
      words: 'a cat',
      index: path.join(place, '.tessera-search-clip'),
      pictures: PICTURES,
      embedded: 0,
      dropped: 0,
    });
    const lines = results.map(
      ({ picture, score }: { picture: string; score: number }) => `${score.toFixed(3).padStart(6)}  ${picture}`,
    );
    expect(lines.slice(0, 3)).toEqual(out.trimEnd().split('\n'));
    expect(failed).toEqual([{ picture: `${place}/te\nxt.png`, error: expect.stringMatching(/no known file type/) }]);
  },
  PATIENCE,
);

test(
  'interrupted, it leaves nothing half, and goes on',
  async () => {
    const place = await makePictures('many');
    const args = ['search', place, 'a cat', '--batch-size', '1', ...model];
    const { code } = await tessera([...args, '--trace'], { onError: (child) => child.kill('SIGINT') });
    expect(code).toBe(130);
    const files = await readdir(path.join(ROOT, place));
    expect(files.filter((name) => name.endsWith('.part'))).toEqual([]);
    const after = await tessera([...args, '--json']);
    expect(after).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(after.out).pictures).toBe(PICTURES);
  },
  PATIENCE,
);

test(
  'mistakes',
  async () => {
    await mkdir(path.join(ROOT, folder, 'empty'));
    const lines: string[] = [];
    for (const args of [
      ['nowhere', 'a'],
      ['package.json', 'a'],
      [`${folder}/empty`, 'a'],
      ['tests', ' '],
      ['tests'],
      ['tests', 'a', '--top', '0'],
    ]) {
      const { code, out, err } = await tessera(['search', ...args, ...model]);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      lines.push(inFolder(err));
    }
    expect(lines.join('')).toMatchInlineSnapshot(`
      "error: [nowhere] no such folder: want one with pictures
      error: [package.json] no such folder: want one with pictures
      error: [FOLDER/empty] no pictures: want PNG, JPEG or WebP files in it
      error: [search] words: got " ", want what to look for
      error: missing required argument 'words'
      error: option '--top <n>' argument '0' is invalid. Want a whole number from 1.
      "
    `);
  },
  PATIENCE,
);
