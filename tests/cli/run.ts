// Runs dist/cli.js as a user does, in the runtime that runs the tests or in another.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAll } from '../../src/build/build.js';
import type { Folder } from '../../src/io/source.ts';
import { binary } from '../runtimes/launch.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export const PATIENCE = 180_000; // a software adapter compiles each kernel first

export const relative = (file: string) => path.relative(ROOT, file);

/** A new folder in the repository, as paths are part of what is printed: its path from the root. */
export async function makeFolder(): Promise<string> {
  await mkdir(path.join(ROOT, '.cache'), { recursive: true });
  return relative(await mkdtemp(path.join(ROOT, '.cache', 'cli-')));
}

/** Writes the files of a folder to disk, and gives the options that name it as the model. */
export async function asModel(from: Folder, to: string): Promise<string[]> {
  await mkdir(path.join(ROOT, to));
  for (const name of await from.list()) {
    const source = (await from.open(name))!;
    await writeFile(path.join(ROOT, to, name), await source.read(0, source.size));
  }
  return ['--model', to];
}

export type Ended = { code: number | null; out: string; err: string };
export type Run = {
  runtime?: 'own' | 'bun' | 'deno';
  env?: Record<string, string>;
  /** Called with the child once it has written something on stderr. */
  onError?: (child: ChildProcess) => void;
  /** Called with the child and its stdout so far, whenever it has written there. */
  onOutput?: (child: ChildProcess, out: string) => void;
  /** Close its stdout as soon as it has written something there. */
  hangUp?: boolean;
  /** A file that takes its stdout, or its stderr. */
  to?: { stdout?: string; stderr?: string };
  /** What it reads on stdin. */
  input?: string;
};

let built: Promise<unknown> | undefined;

/** dist/, built once for each test file. */
export const build = () => (built ??= buildAll());

const host = globalThis as { Deno?: object };
const DENO = ['run', '--allow-all', '--no-lock', '--quiet'];
const QUIET = { DENO_DIR: path.join(ROOT, '.cache', 'deno'), DENO_NO_UPDATE_CHECK: '1' };

function commandOf(runtime: NonNullable<Run['runtime']>): string[] {
  if (runtime === 'bun') return [binary('bun')];
  if (runtime === 'deno') return [binary('deno'), ...DENO];
  return [process.execPath, ...(host.Deno ? DENO : [])];
}

/** Runs `tessera ...args` in the repository's root. */
export async function tessera(
  args: readonly string[],
  { runtime = 'own', env = {}, onError, onOutput, hangUp, to = {}, input }: Run = {},
): Promise<Ended> {
  await build();
  const [command, ...flags] = commandOf(runtime);
  const { TESSERA_TRACE: _, NO_COLOR: __, FORCE_COLOR: ___, ...inherited } = process.env;
  const [stdout, stderr] = [to.stdout, to.stderr].map((file) => (file ? openSync(file, 'w') : undefined));
  const child: ChildProcess = spawn(command!, [...flags, path.join(ROOT, 'dist/cli.js'), ...args], {
    cwd: ROOT,
    env: { TESSERA_ADAPTER: 'software', ...inherited, ...QUIET, ...env },
    stdio: [input === undefined ? 'ignore' : 'pipe', stdout ?? 'pipe', stderr ?? 'pipe'],
  });
  child.stdin?.end(input);
  for (const file of [stdout, stderr]) if (file !== undefined) closeSync(file);
  let [out, err] = ['', ''];
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    out += text;
    onOutput?.(child, out);
    if (hangUp) child.stdout?.destroy();
  });
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    const isFirst = err === '';
    err += text;
    if (isFirst) onError?.(child);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve(signal === 'SIGINT' ? 130 : status)); // as a shell says it
  });
  return { code, out, err };
}
