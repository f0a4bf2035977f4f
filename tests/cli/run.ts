// Runs dist/cli.js as a user does, in the runtime that runs the tests or in another.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAll } from '../../src/build/build.js';
import { binary } from '../runtimes/launch.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export type Ended = { code: number | null; out: string; err: string };
export type Run = {
  runtime?: 'own' | 'bun' | 'deno';
  env?: Record<string, string>;
  /** Called with the child once it has written something on stderr. */
  onError?: (child: ReturnType<typeof spawn>) => void;
  /** Close its stdout as soon as it has written something there. */
  hangUp?: boolean;
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
  { runtime = 'own', env = {}, onError, hangUp }: Run = {},
): Promise<Ended> {
  await build();
  const [command, ...flags] = commandOf(runtime);
  const { TESSERA_TRACE: _, NO_COLOR: __, FORCE_COLOR: ___, ...inherited } = process.env;
  const child = spawn(command!, [...flags, path.join(ROOT, 'dist/cli.js'), ...args], {
    cwd: ROOT,
    env: { TESSERA_ADAPTER: 'software', ...inherited, ...QUIET, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text;
    if (hangUp) child.stdout.destroy();
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
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
