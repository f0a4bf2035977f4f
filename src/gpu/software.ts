// SwiftShader, a software Vulkan driver, out of the npm package @sparticuz/chromium: WebGPU without a GPU, a driver or
// a Vulkan loader (linux x64). For Node, Bun and Deno; every node: import is dynamic, so browser bundles may carry it.
import { makeFolder } from './make-folder.ts';

/** The few calls of Deno's own API used here and in host.ts. */
export type DenoHost = {
  dlopen(file: string, symbols: object): { close(): void };
  env: { get(name: string): string | undefined; set(name: string, value: string): void; delete(name: string): void };
};

const LOADER = 'libvulkan.so.1';
const DRIVER = 'libvk_swiftshader.so';
const ARCHIVE = 'swiftshader.tar.br';
const MANIFEST = 'files.json';
const IN_USE = Symbol.for('tessera.in-use');

/** What npm `webgpu` exports: Dawn's door. */
type Dawn = { create(options: string[]): GPU };

const DRIVER_VARIABLES = ['VK_ICD_FILENAMES', 'VK_DRIVER_FILES']; // the second wins where the loader is new enough
let environment: (string | undefined)[] | undefined; // of DRIVER_VARIABLES, before the first of several requests at once

/** What native code goes on using must not be collected, nor with a module that a test runner loads again. */
const inUse = ((globalThis as { [IN_USE]?: object[] })[IN_USE] ??= []);

/**
 * Dawn on SwiftShader. Dawn opens `libvulkan.so.1` beside itself before the system's, so a copy of dawn.node lies in the
 * cache next to SwiftShader under that name: no environment variable, and it serves threads and forks too. The copy
 * must be real: the linker knows a hard link as the library that npm `webgpu` has loaded with the system's Vulkan.
 */
export async function softwareDawn(options: string[], cacheDir?: string): Promise<GPU> {
  const packages = await locate();
  const { readFile } = await import('node:fs/promises');
  return inCache(cacheDir, `swiftshader-${packages.version}-dawn-${packages.dawnVersion}`, async (folder, repair) => {
    const make = async () => {
      const driver = (await unpack(packages.archive(ARCHIVE))).get(DRIVER)!;
      return new Map([
        [LOADER, driver],
        ['dawn.node', await readFile(packages.dawn)],
      ]);
    };
    await keep(folder, make, repair);
    const module = { exports: {} as Dawn };
    process.dlopen(module, `${folder}/dawn.node`);
    const gpu = module.exports.create(options);
    inUse.push(gpu);
    const adapter = await gpu.requestAdapter(); // the system's, where our driver does not load
    if (adapter?.info.architecture !== 'swiftshader') throw new Error(`Dawn finds no SwiftShader in ${folder}`);
    return gpu;
  });
}

/**
 * Makes the next `navigator.gpu.requestAdapter()` of Deno see SwiftShader only, through a Vulkan loader that comes with
 * it. Deno looks for drivers once, at the first request. Returns how to put the environment back after that request.
 */
export async function softwareDeno(deno: DenoHost, cacheDir?: string): Promise<() => void> {
  const packages = await locate();
  return inCache(cacheDir, `swiftshader-${packages.version}`, async (folder, repair) => {
    await keep(folder, () => unpack(packages.archive(ARCHIVE)), repair);
    for (const file of [LOADER, DRIVER]) inUse.push(deno.dlopen(`${folder}/${file}`, {}));
    environment ??= DRIVER_VARIABLES.map((name) => deno.env.get(name));
    const before = environment;
    for (const name of DRIVER_VARIABLES) deno.env.set(name, `${folder}/vk_swiftshader_icd.json`);
    return () => {
      for (const [i, name] of DRIVER_VARIABLES.entries()) {
        const value = before[i];
        if (value === undefined) deno.env.delete(name);
        else deno.env.set(name, value);
      }
    };
  });
}

/** Whether the system can do Vulkan at all; true where it is not Vulkan that matters (Metal, Direct3D). */
export function hasVulkan(deno?: DenoHost): boolean {
  if (process.platform !== 'linux') return true;
  try {
    if (deno) deno.dlopen(LOADER, {}).close();
    else process.dlopen({ exports: {} }, LOADER);
    return true;
  } catch (error) {
    return /self-register|napi_register/.test((error as Error).message); // opened, and found to be no addon
  }
}

/** Where the two packages are, and their versions (they name the cache folders). */
export async function locate() {
  const system = `${process.platform}-${process.arch}`;
  if (system !== 'linux-x64') {
    throw new Error(
      `[gpu] no SwiftShader for this system: got ${system}, want linux-x64; elsewhere the system's GPU driver is needed`,
    );
  }
  const path = await import('node:path');
  const chromium = await findPackage('@sparticuz/chromium', '../..', 'run: npm i --include=optional');
  const webgpu = await findWebGPU();
  return {
    version: chromium.version,
    archive: (name: string) => path.join(chromium.folder, 'bin', name),
    dawn: path.join(webgpu.folder, 'dist', system, 'dawn.node'),
    dawnVersion: webgpu.version,
  };
}

/** Where npm `webgpu` is, and its version. */
export const findWebGPU = () => findPackage('webgpu', '.', 'run: npm i webgpu');

/** The folder of an installed package, `up` from its main file. */
async function findPackage(name: string, up: string, advice: string): Promise<{ folder: string; version: string }> {
  const { createRequire } = await import('node:module');
  const path = await import('node:path');
  const { readFile } = await import('node:fs/promises');
  try {
    const folder = path.join(path.dirname(createRequire(import.meta.url).resolve(name)), up);
    const { version } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8')) as { version: string };
    return { folder, version };
  } catch (cause) {
    throw new Error(`[gpu] the package ${name} is not installed; ${advice}`, { cause });
  }
}

/** The files of a brotli-compressed tar, by name without folder. */
export async function unpack(file: string): Promise<Map<string, Uint8Array>> {
  const { readFile } = await import('node:fs/promises');
  const { brotliDecompressSync } = await import('node:zlib');
  const tar = brotliDecompressSync(await readFile(file));
  const files = new Map<string, Uint8Array>();
  for (let at = 0; tar[at]; ) {
    const name = tar.toString('latin1', at, at + 100).replace(/\0.*/s, '');
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8);
    const isFile = tar[at + 156] === 0x30; // '0'
    if (isFile) files.set(name.replace(/^.*\//, ''), tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

/**
 * Makes a folder hold the files of `make`, once: a manifest of sizes, written last, says that it does. Each file is
 * written under a name of its own and renamed, so that parallel processes may do the same, and a file in use stays whole.
 */
export async function keep(folder: string, make: () => Promise<Map<string, Uint8Array>>, again = false): Promise<void> {
  const { readFile, rename, rm, stat, writeFile } = await import('node:fs/promises');
  const isWhole = async () => {
    try {
      const sizes = Object.entries(
        JSON.parse(await readFile(`${folder}/${MANIFEST}`, 'utf8')) as Record<string, number>,
      );
      const same = sizes.map(async ([name, size]) => (await stat(`${folder}/${name}`)).size === size);
      return sizes.length > 0 && (await Promise.all(same)).every(Boolean);
    } catch {
      return false; // not there, or cut short
    }
  };
  if (!again && (await isWhole())) return;

  await makeFolder(folder);
  const files = await make();
  const sizes = Object.fromEntries([...files].map(([name, bytes]) => [name, bytes.length]));
  for (const [name, bytes] of [...files, [MANIFEST, JSON.stringify(sizes)] as const]) {
    const draft = `${folder}/${name}.${crypto.randomUUID()}`;
    try {
      await writeFile(draft, bytes, { mode: 0o755 });
      await rename(draft, `${folder}/${name}`);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }
}

/**
 * Runs `use(folder, repair)` in the first cache that works: the given or the user's cache folder, then the folder for
 * temporary files, with a line on stderr. What fails is tried once more with fresh files.
 */
export async function inCache<T>(
  cacheDir: string | undefined,
  name: string,
  use: (folder: string, repair: boolean) => Promise<T>,
): Promise<T> {
  const path = await import('node:path');
  const errors: string[] = [];
  for (const root of [async () => cacheDir ?? (await userCache()), privateTemp]) {
    for (const repair of [false, true]) {
      try {
        const folder = path.join(path.resolve(await root()), name);
        const result = await use(folder, repair);
        if (root === privateTemp) console.warn(`[gpu] SwiftShader is kept in ${folder}, as ${errors.join('; ')}`);
        return result;
      } catch (error) {
        const { message } = error as Error;
        if (!errors.includes(message)) errors.push(message);
      }
    }
  }
  throw new Error(
    `[gpu] cannot unpack or load ${name}: ${errors.join('; ')}. A cacheDir must be writable and allow programs`,
  );
}

/** The folder of this user in which SwiftShader is unpacked. */
export async function userCache(): Promise<string> {
  const { homedir } = await import('node:os');
  const path = await import('node:path');
  const base = process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache');
  if (!path.isAbsolute(base)) throw new Error(`no home folder: got '${base}'`);
  return path.join(base, 'tessera');
}

/** Code is loaded from here, so no other user may be able to write to it. */
async function privateTemp(): Promise<string> {
  const { tmpdir } = await import('node:os');
  const { lstat, mkdir } = await import('node:fs/promises');
  const path = await import('node:path');
  const uid = process.getuid?.();
  const folder = path.join(tmpdir(), `tessera-${uid}`);
  await mkdir(folder, { mode: 0o700 }).catch(() => {}); // it may be there
  const found = await lstat(folder);
  if (!found.isDirectory() || found.uid !== uid || found.mode & 0o022)
    throw new Error(`${folder} belongs to somebody else`);
  return folder;
}
