// What tessera-llava says of a drawing, in Node, in a page and in a worker of the page: the same words, as they come.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type MessagePart, pipeline } from '../../src/index.ts';
import { encodePng } from '../../src/io/png.ts';
import { makeScene, render } from '../../src/world/index.ts';
import { build } from '../cli/run.ts';
import { theWorld } from '../world/support.ts';
import { bundle } from './bundle.ts';
import { closeBrowsers, runIn } from './launch.ts';
import type { main } from './look.ts';

const QUESTIONS = ['describe the picture.', 'what is on the left?'];
let png: string;
let found: Awaited<ReturnType<typeof main>>;
beforeAll(async () => {
  await build();
  const world = await theWorld();
  const bytes = await encodePng(render(world, makeScene(world, { seed: 5, index: 1, split: 'unseen' })));
  png = `data:image/png;base64,${Buffer.from(bytes).toString('base64')}`;
  const program = await bundle(new URL('look.ts', import.meta.url));
  found = (await runIn('chromium-page', program, { png, questions: QUESTIONS }, { timeout: 240_000 })) as never;
}, 400_000);
afterAll(closeBrowsers);

test('a page and a worker answer as Node does', async () => {
  using look = await pipeline('image-text-to-text');
  for (const [i, text] of QUESTIONS.entries()) {
    const content: MessagePart[] = [
      { type: 'image', image: png },
      { type: 'text', text },
    ];
    const [said] = await look([{ role: 'user', content }]);
    const answer = (said!.generated_text as { content: string }[]).at(-1)!.content;
    expect(answer.length).toBeGreaterThan(3);
    expect([found.page[i]!.text, found.worker[i]!.text]).toEqual([answer, answer]);
  }
});
test('words come in pieces, the same ones', () => {
  for (const { text, pieces } of [...found.page, ...found.worker]) expect(pieces.join('')).toBe(text);
  expect(found.worker).toEqual(found.page);
  expect(found.worker[0]!.pieces.length).toBeGreaterThan(3);
});
test('an abort from within reaches the worker, which goes on afterwards', () => {
  expect(found).toMatchObject({ aborted: true, before: true });
  expect(found.heard).toBeLessThan(found.worker[0]!.pieces.length);
  expect(found.again).toEqual(found.worker);
});
test('what a callback throws ends its call; what is wrong is told', () => {
  expect(found.thrown).toBe(true);
  expect(found.refused).toContain("want { type: 'text', text } or { type: 'image', image }");
});
