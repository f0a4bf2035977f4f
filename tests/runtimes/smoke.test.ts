import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256 } from '../sha256.ts';
import { type Bundles, bundle } from './bundle.ts';
import { closeBrowsers, RUNTIMES, runIn } from './launch.ts';
import { matrix, type Smoke } from './smoke.ts';

let bundles: Bundles;
beforeAll(async () => {
  bundles = await bundle(new URL('smoke.ts', import.meta.url));
});
afterAll(closeBrowsers);

/** The kernel in JavaScript. SwiftShader rounds the product of an fma, so this is exact there. */
function product(): Float32Array<ArrayBuffer> {
  const [a, b] = [matrix(1), matrix(2)];
  return Float32Array.from({ length: 64 * 64 }, (_, at) => {
    const [row, col] = [at >> 6, at & 63];
    let sum = 0;
    for (let k = 0; k < 64; k++) sum = Math.fround(Math.fround(a[row * 64 + k]! * b[k * 64 + col]!) + sum);
    return sum;
  });
}

const HOSTS = {
  node: ['node', 'dawn'],
  bun: ['bun', 'dawn'],
  deno: ['deno', 'wgpu'],
  'deno-dawn': ['deno', 'dawn'],
  'chromium-page': ['browser', 'browser'],
  'chromium-worker': ['browser', 'browser'],
} as const;

test.each(RUNTIMES)('%s multiplies matrices on SwiftShader, bit for bit', async (runtime) => {
  const { info, sha256: hash, values } = (await runIn(runtime, bundles)) as unknown as Smoke;
  const want = product();
  expect(values).toEqual([...want.subarray(0, 64)]);
  expect(hash).toBe(await sha256(want));
  const [host, backend] = HOSTS[runtime];
  expect(info).toMatchObject({ name: 'swiftshader', vendor: 'google', architecture: 'swiftshader', software: true });
  expect(info).toMatchObject({ subgroup_size: 4, runtime: host, backend });
});

test.each([
  ['node', { NODE_OPTIONS: '--expose-gc' }],
  ['deno-dawn', { DENO_V8_FLAGS: '--expose-gc' }],
] as const)('%s keeps its GPU through garbage collection', async (runtime, env) => {
  const { sha256: hash } = (await runIn(runtime, bundles, {}, { env })) as unknown as Smoke;
  expect(hash).toBe(await sha256(product()));
});
