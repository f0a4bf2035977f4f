// Starts cli.ts: npm run goldens -- FOLDER [--only 'clip*'] [--runtime NAME] [--adapter NAME] [--json]
// Node 20 does not read TypeScript, so it is bundled first.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { wgslPlugin } from '../../src/build/wgsl.js';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

const { outputFiles } = await build({
  entryPoints: [at('cli.ts')],
  bundle: true,
  write: false,
  format: 'esm',
  target: 'node20',
  platform: 'node',
  packages: 'external',
  // for every module in the bundle: all that ask where they are lie two folders deep, as this file does
  define: { 'import.meta.url': JSON.stringify(import.meta.url) },
  plugins: [wgslPlugin],
});
const folder = at('../../node_modules/.cache/tessera');
const file = `${folder}/goldens.mjs`;
const draft = `${file}.${process.pid}`; // several may start at once
await mkdir(folder, { recursive: true });
await writeFile(draft, outputFiles[0].contents);
await rename(draft, file);
const { goldens } = await import(pathToFileURL(file).href);
process.exitCode = await goldens(process.argv.slice(2));
