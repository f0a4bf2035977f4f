// Scenes of the drawn world on stdout, for recipes: `node scenes.js '{"seed": 1, "split": "seen", "first": 0, "count": 10}'`.
// Each is a line of JSON ({scene, caption, wrong}) and 64x64x3 bytes. `wording` and `detail` are those of src/world/words.ts; without
// `detail` one caption in two is full, and then `wrong` is a full caption of almost the same scene. Without a count it goes on for ever.
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const { outputFiles } = await build({
  entryPoints: [at('../../src/world/index.ts')],
  bundle: true,
  write: false,
  format: 'esm',
  target: 'node20',
  platform: 'node',
});
const bundle = join(await mkdtemp(join(tmpdir(), 'world-')), 'world.mjs'); // Node 20 does not read TypeScript
await writeFile(bundle, outputFiles[0].contents);
const { openWorld, Random, makeScene, changed, caption, render } = await import(pathToFileURL(bundle).href);
await rm(dirname(bundle), { recursive: true });
const { seed, split, first = 0, count = Infinity, wording, detail } = JSON.parse(process.argv[2]);
const world = await openWorld((file) => readFile(at(`../world/${file}`)));
process.stdout.on('error', () => process.exit()); // the reader is done
for (let index = first; index < first + count; index++) {
  const random = new Random('caption', seed, split, index);
  const scene = makeScene(world, { seed, index, split });
  const isFull = detail === 'full' || (!detail && random.chance(50));
  const right = caption(world, scene, random, { wording, detail: isFull ? 'full' : 'some' });
  const wrong = isFull
    ? caption(world, changed(world, scene, random), random, { wording, detail: 'full' })
    : undefined;
  const line = `${JSON.stringify({ scene, caption: right, wrong })}\n`;
  if (!process.stdout.write(Buffer.concat([Buffer.from(line), render(world, scene).data]))) {
    await once(process.stdout, 'drain');
  }
}
