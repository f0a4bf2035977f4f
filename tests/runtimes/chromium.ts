// Headless Chromium out of the npm package @sparticuz/chromium (linux x64), unpacked once into the user's cache.
import { readFile } from 'node:fs/promises';
import { brotliDecompressSync } from 'node:zlib';
import { type Browser, launch } from 'puppeteer-core';
import { inCache, keep, locate, unpack } from '../../src/gpu/software.ts';

// the libraries it needs, and SwiftShader with its loaders, which it looks for beside itself
const ARCHIVES = ['al2023.tar.br', 'swiftshader.tar.br'];

const SOFTWARE = ['--use-webgpu-adapter=swiftshader'];
const HARDWARE = [
  '--ignore-gpu-blocklist',
  '--enable-features=Vulkan',
  '--use-angle=vulkan',
  '--disable-vulkan-surface',
];

/** A new browser with WebGPU, on SwiftShader or on the system's drivers. It ends with this process, however that ends. */
export async function openChromium(software: boolean): Promise<Browser> {
  const { version, archive } = await locate();
  const make = async () => {
    const files = new Map<string, Uint8Array>();
    files.set('chromium', brotliDecompressSync(await readFile(archive('chromium.br'))));
    for (const name of ARCHIVES) for (const [file, bytes] of await unpack(archive(name))) files.set(file, bytes);
    return files;
  };
  const folder = await inCache(undefined, `chromium-${version}`, async (folder, repair) => {
    await keep(folder, make, repair);
    return folder;
  });
  const env: Record<string, string | undefined> = { ...process.env, LD_LIBRARY_PATH: folder };
  if (software) for (const name in env) if (name.startsWith('VK_')) delete env[name];
  return launch({
    executablePath: `${folder}/chromium`,
    headless: 'shell',
    protocolTimeout: 0, // whoever waits has a limit of its own
    pipe: true, // Chromium leaves when the other end closes, even by SIGKILL
    args: ['--no-sandbox', '--no-zygote', '--enable-unsafe-webgpu', ...(software ? SOFTWARE : HARDWARE)],
    env,
  });
}
