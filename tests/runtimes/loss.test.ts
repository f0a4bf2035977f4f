import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Bundles, bundle } from './bundle.ts';
import { closeBrowsers, runIn } from './launch.ts';
import type { Loss } from './loss.ts';

let bundles: Bundles;
beforeAll(async () => {
  bundles = await bundle(new URL('loss.ts', import.meta.url));
});
afterAll(closeBrowsers);

test.each(['node', 'deno', 'chromium-page'] as const)('%s goes on after a lost device', async (runtime) => {
  const { again, named, readback, ...errors } = (await runIn(runtime, bundles)) as unknown as Loss;
  expect(again).toEqual(again.map(() => true));
  for (const error of Object.values(errors)) expect(error).toMatch(/^DeviceLost: /);
  expect(readback).toMatch(/^done$|^DeviceLost: /); // the copy may have been on its way
  expect(named).toBe(
    'DeviceLost: [run] computed f32 [2] was on a device that is lost, and nowhere else: make it again',
  );
});
