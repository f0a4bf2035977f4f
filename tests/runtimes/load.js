// Node 20 does not read TypeScript: a module is bundled, then imported.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { wgslPlugin } from '../../src/build/wgsl.js';

/** What a TypeScript module exports; `url` says where it is. */
export async function load(url) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(url)],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'node20',
    platform: 'node',
    packages: 'external',
    plugins: [wgslPlugin],
  });
  const folder = new URL('../../.cache/runtimes/', import.meta.url); // two folders deep, as tests are: modules ask where they are
  const file = new URL(`${url.pathname.split('/').at(-1)}.mjs`, folder);
  const draft = new URL(`${file}.${process.pid}`); // several may start at once
  await mkdir(folder, { recursive: true });
  await writeFile(draft, outputFiles[0].contents);
  await rename(draft, file);
  return import(file);
}
