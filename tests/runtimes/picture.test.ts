// Pictures in Chromium: canvases, files of other kinds, downloads.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Bundles, bundle } from './bundle.ts';
import { closeBrowsers, runIn } from './launch.ts';

let bundles: Bundles;
beforeAll(async () => {
  bundles = await bundle(new URL('picture.ts', import.meta.url));
});
afterAll(closeBrowsers);

test.each([
  ['chromium-page', 'HTMLCanvasElement', 'out.png from blob:'],
  ['chromium-worker', 'OffscreenCanvas', '[save] a worker has no files: want toBlob(), or save in the page'],
] as const)('in a %s', { timeout: 120_000 }, async (runtime, canvas, saved) => {
  expect(await runIn(runtime, bundles, {}, { timeout: 100_000 })).toEqual({
    canvas: [canvas, 4, 3, true],
    blobs: ['image/jpeg', 4, true],
    saved,
  });
});
