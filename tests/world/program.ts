// A hundred scenes with all that is said about them, as hashes.
import { ask, captioned, changed, compare, KINDS, openWorld, Random, render } from '../../src/world/index.ts';
import { sha256 } from '../sha256.ts';
import { reader } from './files.ts';

export type Made = { scenes: string; words: string; pixels: string };

export async function main({ root }: { root: string }): Promise<Made> {
  const read = reader(root);
  const world = await openWorld((file) => read(`world/${file}`));
  const made = Array.from({ length: 100 }, (_, index) =>
    captioned(world, { seed: 5, index, split: index % 2 ? 'seen' : 'unseen' }),
  );
  const words = made.map(({ scene, caption }, i) => {
    const random = new Random('program', i);
    const other = changed(world, scene, random);
    return [
      caption,
      other,
      KINDS.map((kind) => ask(world, scene, random, { kind })),
      compare(world, [scene, other], random),
    ];
  });
  const hash = (value: unknown) => sha256(new TextEncoder().encode(JSON.stringify(value)));
  return {
    scenes: await hash(made.map(({ scene }) => scene)),
    words: await hash(words),
    pixels: await sha256(Uint8Array.from(made.flatMap(({ scene }) => [...render(world, scene).data]))),
  };
}
