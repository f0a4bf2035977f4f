// The world of drawings in weights/world: what the shipped models know, and pictures by a hand they have never seen.
import { parseJson, parseObject } from '../io/json.ts';
import { shipped } from '../tasks/shipped.ts';

export type Concept = { name: string; phrase: string };
export type Drawing = { file: string; path: string; name: string };

async function readText(path: string): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  return readFile(path, 'utf8');
}

/** The things that tessera-clip knows, each with the phrase that names it in a sentence. */
export async function readConcepts(): Promise<Concept[]> {
  return parseJson(await readText(await shipped('world/concepts.json')), 'concepts.json') as Concept[];
}

/** The pictures of the unseen hand, with the true names of what they show. */
export async function readDrawings(): Promise<Drawing[]> {
  const folder = await shipped('world/openmoji');
  const names = parseObject(await readText(`${folder}/index.json`), 'index.json') as Record<string, string>;
  return Object.entries(names).map(([file, name]) => ({ file, path: `${folder}/${file}`, name }));
}
