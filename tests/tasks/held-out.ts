// tessera-clip on all of the held-out scenes and the shipped pictures of the unseen hand, in any runtime.
import { decodePng } from '../../src/io/png.ts';
import { memoryFolder } from '../../src/io/source.ts';
import { pipeline } from '../../src/tasks/pipeline.ts';
import { captioned, openWorld, render } from '../../src/world/index.ts';
import { sha256 } from '../sha256.ts';
import { reader } from '../world/files.ts';

/** Places of the truth among the labels, from 1, and the hash of all scores. */
type Named = { ranks: number[]; scores: string };
export type HeldOut = { captions: string[]; pixels: string; scenes: Named; drawings: Named };

const FILES = [
  'config.json',
  'model.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
  'preprocessor_config.json',
];

export async function main({ root }: { root: string }): Promise<HeldOut> {
  const read = reader(root);
  const json = async (file: string) => JSON.parse(new TextDecoder().decode(await read(file)));
  const [world, tests, names] = await Promise.all([
    openWorld((file) => read(`world/${file}`)),
    json('world/tests.json'),
    json('world/openmoji/index.json'),
  ]);
  const { seed, count, split } = tests.scenes;
  const scenes = Array.from({ length: count }, (_, index) =>
    captioned(world, { seed, index, split }, { detail: 'full' }),
  );
  const pictures = scenes.map(({ scene }) => render(world, scene));
  const drawings = await Promise.all(
    Object.keys(names).map(async (name) => decodePng(await read(`world/openmoji/${name}`))),
  );

  const model = await Promise.all(FILES.map(async (name) => [name, await read(`tessera-clip/${name}`)] as const));
  const classify = await pipeline('zero-shot-image-classification', memoryFolder(model, 'tessera-clip'));
  const named = async (
    images: typeof pictures,
    labels: readonly string[],
    truth: readonly string[],
    hypothesis_template: string,
  ): Promise<Named> => {
    const results = await classify(images, labels, { hypothesis_template });
    const scores = results.flatMap((result) => {
      const score = new Map(result.map((one) => [one.label, one.score]));
      return labels.map((label) => score.get(label)!);
    });
    const ranks = results.map((result, i) => 1 + result.findIndex(({ label }) => label === truth[i]));
    return { ranks, scores: await sha256(Float64Array.from(scores)) };
  };
  const captions = scenes.map(({ caption }) => caption);
  const phrases = new Map(world.concepts.map(({ name, phrase }) => [name, phrase]));
  const truth = (Object.values(names) as string[]).map((name) => phrases.get(name)!);
  const found = {
    captions,
    pixels: await sha256(Uint8Array.from(pictures.flatMap(({ data }) => [...data]))),
    scenes: await named(pictures, captions, captions, '{}'),
    drawings: await named(drawings, [...phrases.values()], truth, 'a drawing of {}'),
  };
  classify.dispose();
  return found;
}
