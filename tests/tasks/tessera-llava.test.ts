// What the card of tessera-llava says of unseen scenes, measured again by Tessera itself, in Node and in Chromium.
// tessera-llava.json has the answers of transformers: weights/recipes/llava.py --expected writes it.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KINDS } from '../../src/world/index.ts';
import { bundle, ROOT } from '../runtimes/bundle.ts';
import { closeBrowsers, runIn } from '../runtimes/launch.ts';
import type { Asked } from './conversations.ts';

const read = (file: string) => readFileSync(new URL(file, import.meta.url), 'utf8');
const expected = JSON.parse(read('tessera-llava.json')) as { question: string; truth: string; answer: string }[];
const SCENES = 20;
/** How the rows of the card's table begin. */
const ROWS = {
  what: 'what stands',
  all: 'all things',
  colour: 'the colour',
  where: 'the place',
  size: 'big or small',
  count: 'how many',
  'yes-no': 'yes or no',
  caption: 'caption',
};

/** The share of right answers about unseen scenes that the card states. */
function stated(kind: keyof typeof ROWS): number {
  const card = read('../../weights/tessera-llava/README.md');
  const [, percent] = new RegExp(`^\\| ${ROWS[kind]}[^|]*\\| ([\\d.]+) %`, 'm').exec(card) ?? [];
  return Number(percent) / 100;
}

let node: Asked[];
let page: Asked[];
beforeAll(async () => {
  const program = await bundle(new URL('conversations.ts', import.meta.url));
  const run = async (where: 'node' | 'chromium-page') =>
    (await runIn(where, program, { root: ROOT, scenes: SCENES }, { timeout: 280_000 })) as unknown as Asked[];
  node = await run('node');
  page = await run('chromium-page');
}, 600_000);
afterAll(closeBrowsers);

test('the questions are those of the card', () => {
  expect(node.map(({ question, answer }) => [question, answer])).toEqual(
    expected.map(({ question, truth }) => [question, truth]),
  );
});
test('the answers are those of transformers, but for near ties', () => {
  const other = node.filter(({ said }, i) => said !== expected[i]!.answer);
  expect(other.length).toBeLessThanOrEqual(2);
});
test.each(KINDS)('questions of the kind %s are answered right as often as the card says', (kind) => {
  const share = stated(kind);
  expect(share).toBeGreaterThan(0.1);
  const asked = node.filter((one) => one.kind === kind);
  expect(asked).toHaveLength(SCENES);
  const right = asked.filter(({ said, answer }) => said === answer).length / SCENES;
  const deviation = Math.sqrt((share * (1 - share)) / SCENES);
  expect(Math.abs(right - share)).toBeLessThanOrEqual(Math.max(2 * deviation, 1 / SCENES)); // one answer is the least that can differ
});
test('a page answers with the same words', () => {
  expect(page).toEqual(node);
});
