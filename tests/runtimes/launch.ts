// One bundle, run in any of the runtimes: Node, Bun and Deno as child processes, Chromium through puppeteer.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { closeBrowsers, runInChromium } from './browser.ts';
import { type Bundles, ROOT } from './bundle.ts';

export { closeBrowsers };

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** `deno` is its own wgpu, `deno-dawn` npm `webgpu` in Deno. */
export const RUNTIMES = ['node', 'bun', 'deno', 'deno-dawn', 'chromium-page', 'chromium-worker'] as const;
export type Runtime = (typeof RUNTIMES)[number];

export type Launch = {
  /** As for `requestAdapter`; handed to `main` in its options. Default: software. */
  adapter?: string;
  /** Milliseconds. */
  timeout?: number;
  /** Environment variables on top of this process's (child processes only). */
  env?: Record<string, string | undefined>;
};

/**
 * Runs `main({ ...options, adapter, webgpu })` of a bundle in a runtime and gives its result.
 * Rejects with the runtime's error output; whatever was started is ended, except Chromium: see `closeBrowsers`.
 */
export async function runIn(
  runtime: Runtime,
  bundle: string | Bundles,
  options: { [key: string]: Json } = {},
  { adapter = 'software', timeout = 60_000, env = {} }: Launch = {},
): Promise<Json> {
  const inBrowser = runtime === 'chromium-page' || runtime === 'chromium-worker';
  const file = typeof bundle === 'string' ? bundle : bundle[inBrowser ? 'browser' : 'node'];
  const given = { ...options, adapter, webgpu: runtime === 'deno-dawn' ? 'npm' : 'native' };
  try {
    if (!inBrowser) return await runInChild(runtime, file, given, timeout, env);
    const where = runtime === 'chromium-page' ? 'page' : 'worker';
    return await runInChromium(where, file, given, { software: adapter === 'software', timeout });
  } catch (error) {
    throw new Error(`[${runtime}] ${path.basename(file)}: ${(error as Error).message}`);
  }
}

function runInChild(
  runtime: Exclude<Runtime, `chromium-${string}`>,
  bundle: string,
  options: object,
  timeout: number,
  env: Record<string, string | undefined>,
): Promise<Json> {
  const [command, ...flags] = commandOf(runtime);
  const marker = `result ${crypto.randomUUID()} `;
  const child = spawn(command!, [...flags, path.join(ROOT, 'tests/runtimes/child.js')], {
    cwd: ROOT,
    env: { ...process.env, ...QUIET, ...env },
  });
  return new Promise((resolve, reject) => {
    let out = '';
    let errors = '';
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, timeout);
    child.stdout.setEncoding('utf8').on('data', (part: string) => (out += part));
    child.stderr.setEncoding('utf8').on('data', (part: string) => (errors += part));
    child.stdin.on('error', () => {}); // it left early: `close` tells
    child.on('error', (error) => (errors += error.message));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const at = out.lastIndexOf(marker);
      if (code === 0 && at >= 0) return resolve(JSON.parse(out.slice(at + marker.length)) as Json);
      const how = isLate ? `took longer than ${timeout} ms` : `ended with ${signal ?? `code ${code}`}`;
      reject(new Error(`${how}\n${errors}${out}`.trim()));
    });
    const limit = timeout + 1000; // for a child whose parent was killed
    child.stdin.write(`${JSON.stringify({ bundle, options, marker, limit })}\n`); // stays open: see child.js
  });
}

// nothing outside the repository is written, nothing asked of a network
const QUIET = {
  DENO_DIR: path.join(ROOT, '.cache', 'deno'),
  DENO_NO_UPDATE_CHECK: '1',
  BUN_RUNTIME_TRANSPILER_CACHE_PATH: '0',
};

function commandOf(runtime: Exclude<Runtime, `chromium-${string}`>): string[] {
  if (runtime === 'node') return [process.versions.bun || process.versions.deno ? nodeOnPath() : process.execPath];
  if (runtime === 'bun') return [binary('bun'), '--no-install'];
  return [binary('deno'), 'run', '--allow-all', '--no-lock', '--quiet'];
}

/** Node, when another runtime runs the tests; `bun --bun` puts a folder on the path where `node` is Bun. */
function nodeOnPath(): string {
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => !folder.includes('bun-node-'));
  const file = folders.map((folder) => path.join(folder, 'node')).find((name) => existsSync(name));
  if (!file) throw new Error('[node] no program on the PATH');
  return file;
}

/** The program itself: install scripts move it about, and without them the package's bin is a stub that fails. */
export function binary(name: 'bun' | 'deno'): string {
  const modules = path.join(ROOT, 'node_modules');
  const scope = path.join(modules, name === 'bun' ? '@oven' : '@deno');
  const packages = [path.join(modules, name), ...list(scope)];
  for (const file of packages.flatMap((folder) => [...list(folder), ...list(path.join(folder, 'bin'))])) {
    const isProgram = [name, `${name}.exe`].includes(path.basename(file));
    if (isProgram && statSync(file).size > 1e6) return file;
  }
  throw new Error(`[${name}] no program in node_modules; run: npm ci`);
}

const list = (folder: string): string[] =>
  existsSync(folder) ? readdirSync(folder).map((name) => path.join(folder, name)) : [];
