// What this machine has to compute with, whether it computes right, and what to do where it does not.
import { Device } from '../gpu/device.ts';
import { type AdapterChoice, type AdapterDescription, listAdapters, requestAdapter, runtime } from '../gpu/host.ts';
import { findWebGPU, userCache } from '../gpu/software.ts';
import { cache } from '../io/cache.ts';
import { cacheFolder } from '../io/hub-env.ts';
import { type Check, failure, type SelfTestProgress, selfTest } from './self-test.ts';

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
] as const;

export type Features = {
  subgroups: boolean;
  /** Lanes of a subgroup, the least and the most; 0: not told. */
  subgroup_size: readonly [number, number];
  'shader-f16': boolean;
  'timestamp-query': boolean;
};

export type CacheState = {
  name: 'models' | 'swiftshader';
  /** null: the storage of this page. */
  folder: string | null;
  writable: boolean;
  /** Of models: how many, and their bytes. */
  models?: number;
  bytes?: number;
  message?: string;
};

export type Health = {
  /** Whether there is a device and every check is ok. */
  healthy: boolean;
  runtime: AdapterDescription['runtime'];
  /** Of the runtimes and of npm webgpu. */
  versions: Record<string, string>;
  adapters: AdapterDescription[];
  /** Where else was looked, and what was there instead. */
  missing: string[];
  /** The one that was asked for; null: there is none. */
  adapter: AdapterDescription | null;
  features: Features | null;
  limits: Record<(typeof LIMITS)[number], number> | null;
  checks: Check[];
  caches: CacheState[];
  /** What to do, a line each. */
  advice: string[];
};

export type DoctorOptions = AdapterChoice & {
  /** Looks at this device, and not at one of its own. */
  device?: Device | GPUDevice | undefined;
  progress_callback?: SelfTestProgress | undefined;
};

/** Looks at the adapters of this host and tests the kernels on one of them. Throws nothing: what fails is in the report. */
export async function doctor(options: DoctorOptions = {}): Promise<Health> {
  const { device: given, progress_callback, ...choice } = options;
  const examined = await examine(choice, given, progress_callback).catch((error) => ({
    ...{ adapter: null, features: null, limits: null },
    checks: [{ name: 'device', ...failure(error) }],
  }));
  const health: Health = {
    healthy: examined.checks.every(({ ok }) => ok),
    runtime,
    versions: await versions(),
    ...(await listAdapters(choice)), // after the request: Deno looks for drivers once
    ...examined,
    caches: runtime === 'browser' ? [await models()] : [await models(), await swiftshader()],
    advice: [],
  };
  return { ...health, advice: advise(health, choice.adapter, given !== undefined) };
}

type Examined = Pick<Health, 'adapter' | 'features' | 'limits' | 'checks'>;

async function examine(
  choice: AdapterChoice,
  given: Device | GPUDevice | undefined,
  onProgress: SelfTestProgress | undefined,
): Promise<Examined> {
  const offered = given ? undefined : (await requestAdapter(choice)).adapter;
  const device = given ? Device.from(given) : await Device.request(choice);
  try {
    const { features: has, info } = offered ?? { features: device.gpu.features, info: device.gpu.adapterInfo };
    const features = {
      subgroups: has.has('subgroups'),
      subgroup_size: [info?.subgroupMinSize ?? 0, info?.subgroupMaxSize ?? 0] as const,
      'shader-f16': has.has('shader-f16'),
      'timestamp-query': has.has('timestamp-query'),
    };
    const limits = Object.fromEntries(LIMITS.map((name) => [name, device.gpu.limits[name]])) as Health['limits'];
    const there: Check = { name: 'device', ok: true, error: null, bound: null };
    return { adapter: device.adapter, features, limits, checks: [there, ...(await selfTest(device, onProgress))] };
  } finally {
    if (!given) device.dispose();
  }
}

async function versions(): Promise<Record<string, string>> {
  if (runtime === 'browser') return { browser: globalThis.navigator?.userAgent ?? 'unknown' };
  const found: Record<string, string> = {};
  for (const name of ['node', 'bun', 'deno']) {
    const version = process.versions[name];
    if (version) found[name] = version;
  }
  const webgpu = await findWebGPU().catch(() => undefined);
  if (webgpu) found.webgpu = webgpu.version;
  return found;
}

const text = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** The models of the hub that are kept. */
async function models(): Promise<CacheState> {
  let folder: string | null = null;
  try {
    if (runtime !== 'browser') folder = await cacheFolder();
    const list = await cache.list();
    const bytes = list.reduce((n, { size_on_disk }) => n + size_on_disk, 0);
    const state = folder === null ? { writable: true } : await tryWriting(folder);
    return { name: 'models', folder, models: list.length, bytes, ...state };
  } catch (error) {
    return { name: 'models', folder, writable: false, message: text(error) };
  }
}

async function swiftshader(): Promise<CacheState> {
  const folder = await userCache().catch((error: Error) => error);
  if (folder instanceof Error) return { name: 'swiftshader', folder: null, writable: false, message: folder.message };
  return { name: 'swiftshader', folder, ...(await tryWriting(folder)) };
}

/** Makes and removes an empty folder there, or in the first folder above that exists. */
async function tryWriting(folder: string): Promise<{ writable: boolean; message?: string }> {
  const { mkdtemp, rmdir } = await import('node:fs/promises');
  const path = await import('node:path');
  try {
    await rmdir(await mkdtemp(path.join(folder, '.tessera-')));
    return { writable: true };
  } catch (error) {
    const above = path.dirname(folder);
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && above !== folder) return tryWriting(above);
    return { writable: false, message: text(error) };
  }
}

/** package.json's engines. */
export const NODE_FLOOR = '20.3';
const WEBGPU_BUFFER = 2 ** 28; // what every WebGPU device has, and one gets that asks for no more
const WEBGPU_WORKGROUP = 2 ** 14;

const isOlder = (version: string, floor: string) => {
  const [a, b] = [version, floor].map((v) => v.split('.').map(Number));
  return a![0]! < b![0]! || (a![0] === b![0] && a![1]! < b![1]!);
};
const mb = (bytes: number) => `${Math.floor(bytes / 1e6)} MB`;

/** A line for each thing that is off or weak: what to do about it. */
export function advise(health: Omit<Health, 'advice'>, wanted = 'auto', isGiven = false): string[] {
  const { adapter, adapters, features, limits, checks, versions, caches } = health;
  const advice: string[] = [];
  const names = [...new Set(adapters.map(({ name }) => name))].join(', ');
  const { node } = versions;
  if (health.runtime === 'node' && node && isOlder(node, NODE_FLOOR)) {
    advice.push(`Node ${node} is too old: install ${NODE_FLOOR} or later`);
  }
  if (!adapter && adapters.length > 0) {
    const software =
      wanted !== 'software' && adapters.some((one) => one.software) ? ', such as --adapter software' : '';
    advice.push(`None that works is '${wanted}': ask for another adapter${software}. There is ${names}`);
  } else if (!adapter && health.runtime === 'browser') {
    advice.push(
      'No adapter: take a current browser with WebGPU, a page served over https or from localhost, and graphics acceleration switched on',
    );
  } else if (!adapter) {
    advice.push(
      "No adapter: install the GPU's driver (on Linux the one for Vulkan), or for --adapter software run " +
        '`npm i --include=optional` (SwiftShader, linux-x64) or install the system package mesa-vulkan-drivers',
    );
  }
  const failed = checks.filter(({ name, ok }) => !ok && name !== 'device').map(({ name }) => name);
  if (failed.length > 0) {
    const other = adapter?.software ? 'another adapter' : '--adapter software';
    advice.push(
      `Do not trust results of ${adapter!.name} (off: ${failed.join(', ')}): update its driver, or take ${other}`,
    );
  }
  const gpu = adapters.find(({ software }) => !software);
  if (adapter?.software && gpu) advice.push(`This is a software adapter: ${gpu.name} is faster, take --adapter gpu`);
  else if (adapter?.software) {
    advice.push(
      'This is a software adapter, which is slow: where there is a GPU, install its driver (on Linux for Vulkan)',
    );
  }
  // only there are lanes used to share loads; on a GPU nothing is slower without
  if (adapter?.software && (!features?.subgroups || ![4, 8].includes(adapter.subgroup_size))) {
    const npm = health.runtime === 'deno' ? ': the npm package webgpu has them' : '';
    advice.push(`Without subgroups of 4 or 8 lanes products are slower here, with the same bits${npm}`);
  }
  if (limits && limits.maxBufferSize <= WEBGPU_BUFFER) {
    const most = mb(limits.maxBufferSize);
    const other = isGiven ? "request the device with the adapter's limits" : 'take another adapter';
    advice.push(`A tensor may have ${most} at most: where weights are larger, load them as f16 or ${other}`);
  }
  if (limits && limits.maxComputeWorkgroupStorageSize < WEBGPU_WORKGROUP) {
    advice.push(
      `Workgroups have ${limits.maxComputeWorkgroupStorageSize} bytes, less than WebGPU asks for: update the driver`,
    );
  }
  for (const { name, folder, writable, message } of caches) {
    if (writable) continue;
    const where = name === 'models' ? 'HF_HUB_CACHE' : 'XDG_CACHE_HOME';
    const todo = folder === null ? '' : `: name one in ${where} that can be written`;
    advice.push(`Nothing can be kept in ${folder ?? 'the cache'} (${message})${todo}`);
  }
  return advice;
}
