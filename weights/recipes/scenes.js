// Scenes of the drawn world on stdout, for recipes: `node scenes.js '{"seed": 1, "split": "seen", "first": 0, "count": 10}'`.
// Each is a line of JSON ({scene, caption, wrong}) and 64x64x3 bytes. `wording` and `detail` are those of src/world/words.ts; without
// `detail` one caption in two is full, and then `wrong` is a full caption of almost the same scene. Without a count it goes on for ever.
// With "give": "lessons" a line is {pictures, scenes, questions} of one scene, two or none, and so many pictures;
// with "give": "exam" it is {scene, questions}, one of each kind, and a picture; with "pairs" and "talk" only these;
// with "sights" pictures and their scenes, of `least` things or more, a full caption of each and one of almost the same scene.
// With `poster` they are of one big thing, sometimes of two: {concepts, hands} are the names to choose from.
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
const { openWorld, Random, makeScene, changed, caption, render, ask, compare, questioned, talk, isUnseen, COLOUR_NAMES, PLACES, SIDE } =
  await import(pathToFileURL(bundle).href);
await rm(dirname(bundle), { recursive: true });
const { seed, split, first = 0, count = Infinity, wording, detail, poster, give = 'captions', least = 1 } = JSON.parse(process.argv[2]);
const world = await openWorld((file) => readFile(at(`../world/${file}`)));
process.stdout.on('error', () => process.exit()); // the reader is done

const makers = {
  captions(index) {
    const random = new Random('caption', seed, split, index);
    const scene = poster ? makePoster(index) : makeScene(world, { seed, index, split });
    const isFull = detail === 'full' || (!detail && random.chance(50));
    const right = caption(world, scene, random, { wording, detail: isFull ? 'full' : 'some' });
    const wrong = isFull
      ? caption(world, changed(world, scene, random), random, { wording, detail: 'full' })
      : undefined;
    return { line: { scene, caption: right, wrong }, scenes: [scene] };
  },
  exam(index) {
    const { scene, questions } = questioned(world, { seed, index, split }, { wording });
    return { line: { scene, questions }, scenes: [scene] };
  },
  sights(index) {
    let scene = makeScene(world, { seed, index, split });
    for (let k = 1; scene.things.length < least; k++) scene = makeScene(world, { seed: seed + 1000 * k, index, split });
    const random = new Random('sight', seed, split, index);
    const [right, wrong] = [scene, changed(world, scene, random)].map((s) => caption(world, s, random, { detail: 'full' }));
    return { line: { scenes: [scene], questions: [], caption: right, wrong }, scenes: [scene] };
  },
  /** Half of the pairs differ in one truth, so that no answer is rare. */
  pairs(index, turns = 1) {
    const random = new Random('pair', seed, split, index);
    const one = makeScene(world, { seed, index, split });
    const other = random.chance(50)
      ? changed(world, one, random)
      : makeScene(world, { seed: seed + 1, index, split });
    const scenes = random.chance(50) ? [one, other] : [other, one];
    const questions = Array.from({ length: turns }, () => compare(world, scenes, random, { wording }));
    return { line: { pictures: 2, scenes, questions }, scenes };
  },
  talk(index, turns = 1) {
    const random = new Random('talk', seed, split, index);
    const questions = Array.from({ length: turns }, () => talk(world, random, { wording }));
    return { line: { pictures: 0, questions }, scenes: [] };
  },
  lessons(index) {
    if (index % 12 === 11) return makers.talk(index, 10);
    if (index % 6 === 4) return makers.pairs(index, 5);
    const random = new Random('lesson', seed, split, index);
    const scene = makeScene(world, { seed, index, split });
    const kinds = 'what what where where size yes-no yes-no colour count all caption'.split(' ');
    const questions = kinds.map((kind) => ask(world, scene, random, { kind, wording }));
    return { line: { pictures: 1, scenes: [scene], questions }, scenes: [scene] };
  },
};
const made = makers[give];
for (let index = first; index < first + count; index++) {
  const { line, scenes } = made(index);
  const pixels = scenes.map((scene) => render(world, scene).data);
  if (!process.stdout.write(Buffer.concat([Buffer.from(`${JSON.stringify(line)}\n`), ...pixels]))) {
    await once(process.stdout, 'drain');
  }
}

/** Eight in ten: one thing in the middle, as large as it was drawn; then one smaller at any place; then two side by side. */
function makePoster(index) {
  const random = new Random('poster', split, seed, index);
  const background = random.pick(COLOUR_NAMES);
  const kind = random.pick(['full', 'full', 'full', 'full', 'full', 'full', 'full', 'full', 'placed', 'pair']);
  const places = { full: ['middle'], placed: [random.pick(PLACES)], pair: ['left', 'right'] }[kind];
  const [low, high] = { full: [40, 42], placed: [32, 38], pair: [29, 31] }[kind];
  const things = [];
  for (const place of places) {
    const free = poster.concepts.filter(
      (name) => isUnseen(name, background, place) === (split === 'unseen') && things.every((t) => t.name !== name),
    );
    const name = random.pick(free);
    const hand = random.pick(poster.hands.filter((one) => world.hands.get(one).drawn.has(name)));
    const side = random.between(low, high);
    const across = { left: 1, right: -1 }[place] ?? 0;
    const along = { top: 1, bottom: -1 }[place] ?? 0;
    const room = (SIDE - side) / 2;
    const at = (way) => Math.round(room - way * (room - 1)) + (way ? 0 : random.between(-1, 1));
    things.push({ name, hand, size: 'big', place, x: at(across), y: at(along), side });
  }
  return { background, things };
}
