// npm run bench -- [SUITE] ...: starts run.ts. Node 20 does not read TypeScript, so it is bundled first.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { wgslPlugin } from '../src/build/wgsl.js';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const folder = at('peers/node_modules/.cache/tessera'); // from here the peers are found, and then our own packages

await mkdir(folder, { recursive: true });
const { outputFiles } = await build({
  entryPoints: ['run.ts', 'side.ts', 'loading.ts'].map(at),
  outdir: folder,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true, // a peer is looked for when it is asked for
  write: false,
  format: 'esm',
  target: 'node20',
  platform: 'node',
  packages: 'external',
  define: { 'import.meta.url': JSON.stringify(import.meta.url) }, // where modules ask for files: beside this one
  plugins: [wgslPlugin],
});
for (const { path, contents } of outputFiles) {
  const draft = `${path}.${process.pid}`; // several may start at once
  await writeFile(draft, contents);
  await rename(draft, path);
}
const { main } = await import(pathToFileURL(`${folder}/run.mjs`).href);
process.exitCode = await main(process.argv.slice(2), folder);
