// What the drawn world is made of: its concepts, and how each hand draws them. The files are those of weights/world.
import { UserError } from '../io/error.ts';
import { parseJson, parseObject } from '../io/json.ts';
import type { Pixels } from '../io/pixels.ts';
import { decodePng } from '../io/png.ts';

/** A thing that can be drawn: `a loaf of bread` is its phrase in a sentence, `bread` its name. */
export type Concept = { name: string; phrase: string; synonyms: string[] };

/** Side of a drawing in an atlas, and how many stand in a row of it: concept i is cell i. */
export const CELL = 40;
export const COLUMNS = 20;

/** One hand: an RGBA atlas, and the concepts that it has drawn. */
export type Hand = { atlas: Pixels; drawn: ReadonlySet<string> };

export type World = {
  concepts: readonly Concept[];
  /** Place of a concept in the list, by name. */
  order: ReadonlyMap<string, number>;
  hands: ReadonlyMap<string, Hand>;
};

/** The world from its files; `read` brings one by its name below weights/world. Throws a UserError for damaged ones. */
export async function openWorld(read: (file: string) => Promise<Uint8Array>): Promise<World> {
  const text = async (file: string) => new TextDecoder().decode(await read(file));
  const concepts = parseJson(await text('concepts.json'), 'concepts.json') as Concept[];
  const missing = parseObject(await text('drawings/index.json'), 'drawings/index.json') as Record<string, string[]>;
  const hands = await Promise.all(
    Object.entries(missing).map(async ([name, without]) => {
      const file = `drawings/${name}.png`;
      const atlas = await decodePng(new Uint8Array(await read(file)), file); // Node's Buffers slice in their own way
      const [width, height] = [COLUMNS * CELL, Math.ceil(concepts.length / COLUMNS) * CELL];
      if (atlas.channels !== 4 || atlas.width !== width || atlas.height !== height) {
        throw new UserError(
          `[${file}] got ${atlas.width}x${atlas.height}x${atlas.channels}, want ${width}x${height}x4`,
        );
      }
      const drawn = new Set(concepts.map((concept) => concept.name).filter((concept) => !without.includes(concept)));
      return [name, { atlas, drawn }] as const;
    }),
  );
  return { concepts, order: new Map(concepts.map(({ name }, i) => [name, i])), hands: new Map(hands) };
}
