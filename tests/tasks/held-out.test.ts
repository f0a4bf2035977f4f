// What the card of tessera-clip says of held-out pictures, measured again by Tessera itself, in Node and in Chromium.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundle, ROOT } from '../runtimes/bundle.ts';
import { closeBrowsers, runIn } from '../runtimes/launch.ts';
import type { HeldOut } from './held-out.ts';

const read = (file: string) => readFileSync(new URL(file, import.meta.url), 'utf8');
const expected = JSON.parse(read('tessera-clip.json')) as { scenes: { captions: string[]; ranks: number[] } };

/** R@1 of a row of the card's table, as a share. */
function stated(row: string): number {
  const card = read('../../weights/tessera-clip/README.md');
  const [, percent] = new RegExp(`^\\| \\*\\*${row}[^|]*\\| \\d+ \\| ([\\d.]+) %`, 'm').exec(card) ?? [];
  return Number(percent) / 100;
}
/** Two standard deviations of the share of `n` pictures that are right. */
const spread = (share: number, n: number) => 2 * Math.sqrt((share * (1 - share)) / n);
const right = (ranks: readonly number[]) => ranks.filter((rank) => rank === 1).length / ranks.length;

let node: HeldOut;
let page: HeldOut;
beforeAll(async () => {
  const program = await bundle(new URL('held-out.ts', import.meta.url));
  const run = async (where: 'node' | 'chromium-page') =>
    (await runIn(where, program, { root: ROOT }, { timeout: 240_000 })) as unknown as HeldOut;
  node = await run('node');
  page = await run('chromium-page');
}, 500_000);
afterAll(closeBrowsers);

test('the scenes are those of the card: same captions, and same pixels in a page', () => {
  expect(node.captions).toEqual(expected.scenes.captions);
  expect(page.captions).toEqual(node.captions);
  expect(page.pixels).toBe(node.pixels);
});
test('scenes find their captions as often as the card says, with equal bits', () => {
  const share = stated('scenes');
  expect(share).toBeGreaterThan(0.1);
  expect(Math.abs(right(node.scenes.ranks) - share)).toBeLessThanOrEqual(spread(share, node.scenes.ranks.length));
  const moved = node.scenes.ranks.filter((rank, i) => rank !== expected.scenes.ranks[i]);
  expect(moved.length).toBeLessThanOrEqual(2); // transformers' ranks, but for near ties
  expect(page.scenes).toEqual(node.scenes);
});
test('drawings of the unseen hand are named as often as the card says, with equal bits', () => {
  const share = stated('openmoji');
  expect(share).toBeGreaterThan(0.1);
  expect(right(node.drawings.ranks)).toBeGreaterThanOrEqual(share - spread(share, node.drawings.ranks.length));
  expect(page.drawings).toEqual(node.drawings);
});
