import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Bundles, bundle } from './bundle.ts';
import { closeBrowsers, RUNTIMES, runIn } from './launch.ts';

let bundles: Bundles;
beforeAll(async () => {
  bundles = await bundle(new URL('faults.ts', import.meta.url));
});
afterAll(closeBrowsers);

describe.each(RUNTIMES)('%s', (runtime) => {
  test('hands options over and the result back', async () => {
    const kept = 'ä\n"\u2028';
    expect(await runIn(runtime, bundles, { fault: '', kept })).toEqual({ kept });
    expect(await runIn(runtime, bundles, { fault: 'nothing' })).toBeNull();
  });

  test('reports what the bundle throws', async () => {
    const run = runIn(runtime, bundles, { fault: 'throws' });
    await expect(run).rejects.toThrow(new RegExp(`^\\[${runtime}\\] faults[^]*a fault of the bundle`));
  });

  test('ends a bundle that takes too long, and runs the next', async () => {
    const run = runIn(runtime, bundles, { fault: 'hangs' }, { timeout: 800 });
    await expect(run).rejects.toThrow('took longer than 800 ms');
    expect(await runIn(runtime, bundles, { fault: '', kept: 'next' })).toEqual({ kept: 'next' });
  });
});

test('a bundle that is not there is named', async () => {
  for (const runtime of ['node', 'chromium-page'] as const) {
    await expect(runIn(runtime, 'missing.mjs')).rejects.toThrow(/missing\.mjs/);
  }
});
