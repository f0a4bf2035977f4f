// A seed means the same scenes, words and pixels in every runtime.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Bundles, bundle, ROOT } from '../runtimes/bundle.ts';
import { closeBrowsers, RUNTIMES, runIn } from '../runtimes/launch.ts';
import { type Made, main } from './program.ts';

let bundles: Bundles;
let here: Made;
beforeAll(async () => {
  bundles = await bundle(new URL('program.ts', import.meta.url));
  here = await main({ root: ROOT });
});
afterAll(closeBrowsers);

test.each(RUNTIMES.filter((runtime) => runtime !== 'deno-dawn'))('%s', async (runtime) => {
  expect(await runIn(runtime, bundles, { root: ROOT })).toEqual(here);
});
