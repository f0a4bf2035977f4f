// npm run test:adapters -- [--full]: the conformance suite on every adapter that is installed; see adapters.ts.
// Node 20 does not read TypeScript, so it is bundled first.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

const { outputFiles } = await build({
  entryPoints: [at('adapters.ts')],
  bundle: true,
  write: false,
  format: 'esm',
  target: 'node20',
  platform: 'node',
  packages: 'external',
});
const folder = at('../../.cache/runtimes'); // two folders deep, as this one: modules ask where they are
const file = `${folder}/adapters.${process.pid}.mjs`;
await mkdir(folder, { recursive: true });
await writeFile(file, outputFiles[0].contents);
try {
  const { main } = await import(`file://${file}`);
  process.exitCode = await main(process.argv.slice(2));
} finally {
  await rm(file);
}
