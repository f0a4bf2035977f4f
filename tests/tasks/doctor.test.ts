// The doctor sees what is wrong: a kernel altered on its way to the device turns it red.
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { type Check, Device, doctor, type Health, trim } from '../../src/index.ts';
import { advise, NODE_FLOOR } from '../../src/tasks/doctor.ts';
import { selfTest } from '../../src/tasks/self-test.ts';
import { type Bundles, bundle } from '../runtimes/bundle.ts';
import { closeBrowsers, runIn } from '../runtimes/launch.ts';

const ADAPTER = process.env.TESSERA_ADAPTER ?? 'software';

describe('doctor', () => {
  it('finds this machine healthy, and says what is there', async () => {
    const seen: string[] = [];
    const health = await doctor({ adapter: ADAPTER, progress_callback: ({ name }) => seen.push(name) });
    expect(health.checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(health.healthy).toBe(true);
    expect(health.adapters).toContainEqual(health.adapter);
    expect(health.limits!.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27);
    expect(health.features!.subgroup_size[0]).toBeLessThanOrEqual(health.features!.subgroup_size[1]);
    expect(health.checks.map(({ name }) => name)).toEqual(['device', ...seen]);
    expect(health.caches.map(({ writable }) => writable)).toEqual([true, true]);
  });
  it('looks at a device that is given, and leaves it alone', async () => {
    using device = await Device.request({ adapter: ADAPTER });
    expect((await doctor({ device: device.gpu })).healthy).toBe(true);
    expect(device.isLost).toBe(false);
  });
  it('throws nothing where there is no adapter', async () => {
    const { healthy, adapter, checks, advice } = await doctor({ adapter: 'no such' });
    expect({ healthy, adapter }).toEqual({ healthy: false, adapter: null });
    expect(checks).toEqual([expect.objectContaining({ name: 'device', ok: false })]);
    expect(checks[0]!.message).toContain("want 'no such'");
    expect(advice[0]).toMatch(/None that works is 'no such'.*--adapter software/);
  });
  it('sees a device that is lost', async () => {
    const device = await Device.request({ adapter: ADAPTER });
    device.dispose();
    await device.gpu.lost;
    const { healthy, checks } = await doctor({ device });
    expect(healthy).toBe(false);
    expect(checks.slice(1).every(({ ok, message }) => !ok && message?.includes('lost'))).toBe(true);
  });
});

describe('an altered kernel', () => {
  type Alter = (name: string, code: string) => string;
  let device: Device;
  let alter: Alter;
  beforeAll(async () => {
    device = await Device.request({ adapter: ADAPTER });
    const compile = device.pipeline.bind(device); // what is not altered is compiled once for all tests
    device.pipeline = (shader, label) => compile({ ...shader, code: alter(shader.name, shader.code) }, label);
  });
  afterAll(() => device.dispose());
  /** The checks that are off once `rewrite` gives each kernel another code. */
  async function offWith(rewrite: Alter): Promise<Check[]> {
    alter = rewrite;
    await trim(device); // or plans go on with the kernels they have
    return (await selfTest(device)).filter(({ ok }) => !ok);
  }
  const names = (checks: Check[]) => checks.map(({ name }) => name);

  const SHADERS = readdirSync('shaders').filter((name) => name.endsWith('.wgsl'));
  it.each(SHADERS.map((file) => file.replace('.wgsl', '')))('%s that does nothing turns it red', async (name) => {
    let altered = 0;
    const off = await offWith((shader, code) => {
      if (shader !== name) return code;
      altered++;
      return code.replace(/(fn main[^{]*\{)/, '$1 if (true) { return; }');
    });
    expect(altered).toBeGreaterThan(0);
    expect(off.length).toBeGreaterThan(0);
    expect(names(off)).not.toContain('read-back');
  });
  it.each([
    ['a term of a product twice', 'matmul', /w4\[3\]/, 'w4[2]', ['matmul', 'attention', 'gradient']],
    ['another constant', 'elementwise', /0\.70710678\d*/, '0.7072', ['gelu', 'gradient']],
    ['half of eps', 'standardize', /p\.eps/, '0.5*p.eps', ['layer_norm']],
    ['the segment too short by one', 'reduce', /SEGMENT,\s*p\.cols\)/, 'SEGMENT-1u,p.cols)', ['sum of 9001']],
  ])('%s is off there, and the rest is ok', async (_, name, from, to, want) => {
    expect(names(await offWith((shader, code) => (shader === name ? code.replace(from, to) : code)))).toEqual(want);
  });
  it('that does not compile is off with its message', async () => {
    expect(await offWith((name, code) => (name === 'argmax' ? `${code} nonsense` : code))).toEqual([
      { name: 'argmax', ok: false, error: null, bound: null, message: expect.stringContaining('does not compile') },
    ]);
  });
  it('makes the doctor say so', async () => {
    await offWith((name, code) => (name === 'argmax' ? `${code} nonsense` : code));
    const { healthy, advice } = await doctor({ device });
    expect(healthy).toBe(false);
    expect(advice[0]).toMatch(/^Do not trust results of .* \(off: argmax\)/);
  });
  it('put right turns it green', async () => {
    expect(await offWith((_, code) => code)).toEqual([]);
  });
});

describe('advice', () => {
  const FINE: Omit<Health, 'advice'> = {
    healthy: true,
    runtime: 'node',
    versions: { node: '22.0.0' },
    adapters: [],
    missing: [],
    adapter: {
      ...{ name: 'a GPU', vendor: '', architecture: '', driver: '', software: false, subgroup_size: 32 },
      ...{ runtime: 'node', backend: 'dawn' },
    },
    features: { subgroups: true, subgroup_size: [32, 32], 'shader-f16': true, 'timestamp-query': true },
    limits: {
      maxBufferSize: 2 ** 32,
      maxStorageBufferBindingSize: 2 ** 31,
      maxComputeWorkgroupStorageSize: 2 ** 15,
      maxComputeInvocationsPerWorkgroup: 1024,
    },
    checks: [],
    caches: [],
  };
  const software = { ...FINE.adapter!, name: 'slow', software: true, subgroup_size: 4 };
  const limits = (changed: Partial<Health['limits']>) => ({ limits: { ...FINE.limits!, ...changed } });
  const nothing = { adapter: null, features: null, limits: null };

  it('is none where nothing is off', () => {
    expect(advise(FINE)).toEqual([]);
  });
  test.each<[string, Partial<Health>, RegExp]>([
    ['an old Node', { versions: { node: '20.2.9' } }, /^Node 20.2.9 is too old: install 20.3/],
    ['no adapter', nothing, /^No adapter: install .*--adapter software/],
    ['no adapter in a page', { ...nothing, runtime: 'browser' }, /^No adapter: take a current browser/],
    ['another adapter', { ...nothing, adapters: [software] }, /None that works.*There is slow$/],
    ['a software adapter', { adapter: software }, /software adapter, which is slow/],
    ['a GPU beside it', { adapter: software, adapters: [FINE.adapter!] }, /a GPU is faster, take --adapter gpu/],
    ['small tensors', limits({ maxBufferSize: 2 ** 28 }), /^A tensor may have 268 MB at most/],
    ['little workgroup memory', limits({ maxComputeWorkgroupStorageSize: 8192 }), /^Workgroups have 8192 bytes/],
    [
      'a cache that cannot be written',
      { caches: [{ name: 'models', folder: '/x', writable: false, message: 'EACCES' }] },
      /^Nothing can be kept in \/x \(EACCES\): name one in HF_HUB_CACHE/,
    ],
  ])('%s is one line', (_, changed, line) => {
    expect(advise({ ...FINE, ...changed })).toEqual([expect.stringMatching(line)]);
  });
  it('a software adapter without subgroups is slower still', () => {
    const features = { ...FINE.features!, subgroups: false };
    expect(advise({ ...FINE, adapter: software, features })[1]).toMatch(/^Without subgroups of 4 or 8 lanes/);
    expect(advise({ ...FINE, features })).toEqual([]);
  });
  it("has package.json's floor of Node", () => {
    expect(`>=${NODE_FLOOR}`).toBe(JSON.parse(readFileSync('package.json', 'utf8')).engines.node);
  });
});

describe('in other runtimes', () => {
  let bundles: Bundles;
  beforeAll(async () => {
    bundles = await bundle(new URL('doctor-program.ts', import.meta.url));
  });
  afterAll(closeBrowsers);
  test.each(['bun', 'deno', 'chromium-page'] as const)('%s is healthy on SwiftShader', async (runtime) => {
    const { checks, ...health } = (await runIn(runtime, bundles)) as unknown as Health;
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(health).toMatchObject({ healthy: true, adapter: { name: 'swiftshader' } });
    expect(health.adapters).toContainEqual(health.adapter);
  });
});
