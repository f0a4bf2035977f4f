// Test bundles: one ESM file for Node, Bun and Deno, one for browsers, with the project's shader plugin.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { wgslPlugin } from '../../src/build/wgsl.js';

/** The repository. Bundles lie inside it, so that they find its node_modules and the browsers' server finds them. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export type Bundles = { node: string; browser: string };

/** Bundles a module that exports `main(options): Promise<Json>`; `entry` is a path or file URL. Returns two paths. */
export async function bundle(entry: string | URL): Promise<Bundles> {
  const file = entry instanceof URL || entry.startsWith('file:') ? fileURLToPath(entry) : path.resolve(ROOT, entry);
  const folder = path.join(ROOT, '.cache', 'runtimes');
  await mkdir(folder, { recursive: true });
  const make = async (platform: 'node' | 'browser') => {
    const { outputFiles } = await build({
      entryPoints: [file],
      bundle: true,
      write: false,
      format: 'esm',
      target: 'es2022',
      platform,
      external: ['node:*', 'webgpu', '@sparticuz/chromium'],
      plugins: [wgslPlugin],
      logLevel: 'silent', // a failure throws with the same text
    });
    const out = path.join(folder, `${path.basename(file, path.extname(file))}.${platform}.mjs`);
    const draft = `${out}.${crypto.randomUUID()}`; // test files run in parallel
    await writeFile(draft, outputFiles[0]!.contents);
    await rename(draft, out);
    return out;
  };
  return { node: await make('node'), browser: await make('browser') };
}
