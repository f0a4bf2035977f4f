// The drawn world in weights/world: what the shipped models know, pictures by a hand they have never seen, unseen scenes.
import { parseJson, parseObject } from '../io/json.ts';
import type { Pixels } from '../io/pixels.ts';
import { decodeText } from '../io/source.ts';
import { load_image } from '../tasks/load-image.ts';
import { shipped } from '../tasks/shipped.ts';
import { type Concept, captioned, openWorld, questioned, render, type Split } from '../world/index.ts';

/** A picture and the label that is true of it. */
export type Example = { picture: string; image: Pixels; truth: string };

async function read(file: string): Promise<Uint8Array> {
  const { readFile } = await import('node:fs/promises');
  return readFile(await shipped(`world/${file}`));
}

async function readJson(file: string): Promise<unknown> {
  return parseJson(decodeText(await read(file), file), file);
}

/** The things that tessera-clip knows, each with the phrase that names it in a sentence. */
export const readConcepts = () => readJson('concepts.json') as Promise<Concept[]>;

/** The pictures of the unseen hand, each with the phrase of what it shows. */
export async function readDrawings(concepts: readonly Concept[]): Promise<Example[]> {
  const phrases = new Map(concepts.map(({ name, phrase }) => [name, phrase]));
  const names = parseObject(decodeText(await read('openmoji/index.json'), 'index.json'), 'index.json');
  return Promise.all(
    Object.entries(names as Record<string, string>).map(async ([picture, name]) => {
      const image = await load_image(await shipped(`world/openmoji/${picture}`));
      return { picture, image, truth: phrases.get(name) ?? name };
    }),
  );
}

/** The world that ships: its things, and the drawings of the hands that scenes are made from. */
export const readWorld = () => openWorld(read);

/** The held-out scenes, each with its caption. No scene that was trained on has a thing at such a place on such a colour. */
export async function readScenes(): Promise<Example[]> {
  const tests = (await readJson('tests.json')) as { scenes: { seed: number; count: number; split: Split } };
  const { seed, count, split } = tests.scenes;
  const world = await readWorld();
  return Array.from({ length: count }, (_, index) => {
    const { scene, caption } = captioned(world, { seed, index, split }, { detail: 'full' });
    return { picture: `scene ${index}`, image: render(world, scene), truth: caption };
  });
}

/** A picture, and a question of each kind about it with its answer. */
export type Asked = { picture: string; image: Pixels; questions: ReturnType<typeof questioned>['questions'] };

/** The first few of the scenes that conversations are measured on. */
export async function readQuestions(most: number): Promise<Asked[]> {
  const tests = (await readJson('tests.json')) as { conversations: { seed: number; split: Split } };
  const { seed, split } = tests.conversations;
  const world = await readWorld();
  return Array.from({ length: most }, (_, index) => {
    const { scene, questions } = questioned(world, { seed, index, split });
    return { picture: `scene ${index}`, image: render(world, scene), questions };
  });
}
