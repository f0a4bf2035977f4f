// Pictures that come step by step, in a page and in a worker of it: the same bits as in Node.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DDIMScheduler, type Picture, StableDiffusionPipeline } from '../../src/index.ts';
import { build } from '../cli/run.ts';
import { bundle } from './bundle.ts';
import { edited, type main } from './draw.ts';
import { closeBrowsers, runIn } from './launch.ts';

const CASE = fileURLToPath(new URL('../goldens/cases/stable-diffusion', import.meta.url));
const GIVEN = { prompt: 'a red cat', options: { height: 16, width: 24, num_inference_steps: 2, seed: 7 } };
const PATIENCE = 600_000; // some hundred kernels are compiled, in each place

let found: Awaited<ReturnType<typeof main>>;
beforeAll(async () => {
  await build();
  const program = await bundle(new URL('draw.ts', import.meta.url));
  found = (await runIn('chromium-page', program, GIVEN, { timeout: PATIENCE })) as never;
}, PATIENCE);
afterAll(closeBrowsers);

test('a page and a worker make the pictures that Node makes, and change them alike', {
  timeout: PATIENCE,
}, async () => {
  using pipe = await StableDiffusionPipeline.from_pretrained(CASE);
  const shown = (picture?: Picture) => `${picture!.width} x ${picture!.height} ${picture!.data}`;
  const [picture] = (await pipe(GIVEN.prompt, GIVEN.options)).images;
  const text = shown(picture);
  expect([found.page.picture, found.worker.picture, found.called.picture]).toEqual([text, text, text]);
  expect(found.changed).toBe(shown(await edited(pipe, DDIMScheduler, picture!, GIVEN.options)));
  expect(found.changed).not.toBe(text);
});
test('a worker that takes the place of another has its adapters', () => {
  expect(found.styled[1]).toBe(found.styled[0]);
  expect(found.plain).not.toBe(found.styled[0]);
});
test('steps, previews and callbacks come through the worker as in the page', () => {
  expect(found.worker).toEqual(found.page);
  expect(found.worker.steps.map((one) => one.slice(0, 15))).toEqual([
    ...['1 of 3 12 x 8 ', '2 of 3 12 x 8 ', '3 of 3 12 x 8 '].map((one) => expect.stringContaining(one)),
    '3 of 3 ',
  ]);
  expect(found.worker.told).toHaveLength(3);
});
test('a reader may leave, abort, or throw; the worker goes on afterwards', () => {
  expect(found).toMatchObject({ left: 'left', aborted: true, thrown: true });
  expect(found.wrong).toBe('UserError: [height] got 500, want a multiple of 8: 504 is the nearest');
});
test('the other methods are there, until it is disposed of', () => {
  expect(found.called.adapters).toEqual([]);
  const text = 'Error: [text-to-image] was disposed and is used again';
  expect(found.disposed).toEqual([text, text]);
});
