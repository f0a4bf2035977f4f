// The package as a stranger gets it: packed, installed into an empty project, and used there as examples/README.md says.
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { context } from 'esbuild';
import { build as bundle, createServer, type InlineConfig, preview } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildAll } from '../src/build/build.js';
import { ROOT } from './runtimes/bundle.ts';
import { openChromium } from './runtimes/chromium.ts';
import { binary } from './runtimes/launch.ts';

const PATIENCE = 300_000;
const LABELS = ['an owl', 'a penguin', 'a steam train'];
let project: string;
let installed: string;

/** Runs a program in the project; gives its stdout. */
async function run(program: string, ...args: string[]): Promise<string> {
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => !folder.includes('bun-node-'));
  const quiet = { DENO_DIR: path.join(ROOT, '.cache', 'deno'), DENO_NO_UPDATE_CHECK: '1' };
  const env = { ...process.env, PATH: folders.join(path.delimiter), ...quiet };
  const shown = promisify(execFile)(program, args, { cwd: project, env, timeout: PATIENCE });
  return (await shown.catch((error) => Promise.reject(new Error(`${error.message}\n${error.stdout}`)))).stdout;
}

beforeAll(async () => {
  await buildAll({ types: true });
  project = await mkdtemp(path.join(tmpdir(), 'tessera-project-'));
  const [packed] = JSON.parse(await run('npm', 'pack', ROOT, '--ignore-scripts', '--json', '--silent'));
  await writeFile(path.join(project, 'package.json'), '{ "type": "module", "private": true }');
  await run('npm', 'install', packed.filename, '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund');
  for (const folder of ['.', 'page']) await cp(path.join(ROOT, 'examples', folder), project, { recursive: true });
  installed = path.join(project, 'node_modules/tessera-webgpu');
  await cp(path.join(installed, 'weights/tessera-clip'), path.join(project, 'public/tessera-clip'), {
    recursive: true,
  });
  await cp(path.join(installed, 'weights/world/openmoji/penguin.png'), path.join(project, 'penguin.png'));
}, PATIENCE);
afterAll(() => rm(project, { recursive: true }));

const answer = /^\d+\.\d % {2}a penguin\n\d+\.\d % {2}[^\n]+\n\d+\.\d % {2}[^\n]+\n?$/;

test(
  'its types resolve, with the lib that README.md names',
  async () => {
    const readme = await readFile(path.join(ROOT, 'README.md'), 'utf8');
    const lib = JSON.parse(/"lib": (\[.*?\])/.exec(readme)![1]!);
    const code = readme.match(/```js\n[\s\S]*?```/g)!.map((block) => block.slice(6, -3));
    await writeFile(path.join(project, 'code.ts'), code.join(''));
    const compilerOptions = { lib, module: 'nodenext', target: 'es2022', strict: true, noEmit: true, types: [] };
    await writeFile(path.join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['code.ts'] }));
    expect(await run(process.execPath, path.join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.')).toBe('');
  },
  PATIENCE,
);

test.each([
  ['node', 'node', []],
  ['bun', binary('bun'), ['--no-install']],
  ['deno', binary('deno'), ['run', '--allow-all', '--no-lock', '--quiet']],
] as const)(
  '%s',
  async (_, program, flags) => {
    expect(await run(program, ...flags, 'classify.js', 'penguin.png', ...LABELS)).toMatch(answer);
  },
  PATIENCE,
);

describe('a page', () => {
  const vite = (): InlineConfig => ({
    root: project,
    logLevel: 'error',
    configFile: false,
    server: { port: 0, fs: { strict: false } }, // Vite is not installed in the project
    preview: { port: 0 },
  });

  /** Gives the picture to the page at an address, and waits for its answer. */
  async function ask(address: string): Promise<void> {
    const browser = await openChromium(true);
    try {
      const opened = await browser.newPage();
      const errors: string[] = [];
      opened.on('pageerror', (error) => errors.push(String(error)));
      await opened.goto(address);
      const input = await opened.waitForSelector('input:enabled', { timeout: PATIENCE / 2 }).catch((error) => {
        throw new Error(`${error.message}\n${errors.join('\n')}`);
      });
      await (input as { uploadFile(...files: string[]): Promise<void> }).uploadFile(path.join(project, 'penguin.png'));
      await opened.waitForFunction("document.querySelector('output').textContent", { timeout: PATIENCE / 2 });
      expect(await opened.evaluate("document.querySelector('output').textContent")).toMatch(answer);
      expect(errors).toEqual([]);
    } finally {
      await browser.close();
    }
  }

  test(
    'by esbuild',
    async () => {
      const served = path.join(project, 'public');
      const added = {
        'index.html': path.join(project, 'index.html'),
        'worker.js': path.join(installed, 'dist/worker.js'),
      };
      for (const [name, from] of Object.entries(added)) await cp(from, path.join(served, name));
      const made = await context({
        absWorkingDir: project,
        entryPoints: ['main.js'],
        bundle: true,
        format: 'esm',
        outdir: 'public',
        write: false, // served from memory: Vite would take the file for the page's own
      });
      try {
        const { port } = await made.serve({ servedir: served, host: '127.0.0.1', port: 0 });
        await ask(`http://127.0.0.1:${port}/`);
      } finally {
        await made.dispose();
        for (const name of Object.keys(added)) await rm(path.join(served, name)); // so that Vite finds what it needs by itself
      }
    },
    PATIENCE,
  );

  test(
    'by Vite, in development',
    async () => {
      const server = await (await createServer(vite())).listen();
      try {
        await ask(server.resolvedUrls!.local[0]!);
      } finally {
        await server.close();
      }
    },
    PATIENCE,
  );

  test(
    'by Vite, built',
    async () => {
      await bundle(vite());
      const server = await preview(vite());
      try {
        await ask(server.resolvedUrls!.local[0]!);
      } finally {
        await server.close();
      }
    },
    PATIENCE,
  );
});
