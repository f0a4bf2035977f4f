// Captions of scenes. Every choice of words is either seen in training or kept for tests.
import type { World } from './drawings.ts';
import { Random } from './random.ts';
import { type Colour, makeScene, type Place, type Scene, type SceneId, type Size, type Thing } from './scene.ts';

export type Wording = 'seen' | 'unseen';
type Wordings<T> = Record<Wording, readonly T[]>;

const OPENINGS: Wordings<string> = {
  seen: ['', '', 'a picture of ', 'a drawing of ', 'this picture shows ', 'i can see ', 'here you see '],
  unseen: ['somebody drew ', 'this scene shows ', 'look at '],
};
const PLACED: Wordings<Record<Place, string>> = {
  seen: [
    {
      left: 'on the left',
      right: 'on the right',
      top: 'at the top',
      bottom: 'at the bottom',
      middle: 'in the middle',
    },
  ],
  unseen: [
    {
      left: 'on the left side',
      right: 'on the right side',
      top: 'near the top',
      bottom: 'near the bottom',
      middle: 'right in the middle',
    },
  ],
};
const BACKGROUNDS: Wordings<(colour: Colour) => string> = {
  seen: [
    (colour) => ` on ${withArticle(colour)} background`,
    (colour) => ` with ${withArticle(colour)} background`,
    (colour) => `, and the background is ${colour}`,
  ],
  unseen: [(colour) => `, all on ${colour}`, (colour) => `; the colour behind is ${colour}`],
};

export const withArticle = (word: string): string => `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`;

/** `a loaf of bread`, `a small loaf of bread`, `small grapes`. */
export function phraseOf(world: World, { name }: Pick<Thing, 'name'>, size?: Size): string {
  const { phrase } = world.concepts[world.order.get(name)!]!;
  if (!size) return phrase;
  const [, article, rest] = /^(?:(an?|the) )?(.*)$/.exec(phrase)!;
  if (article === 'the') return `the ${size} ${rest}`;
  return article ? `a ${size} ${rest}` : `${size} ${rest}`;
}

export const placeOf = (place: Place, random: Random, wording: Wording = 'seen'): string =>
  random.pick(PLACED[wording])[place];

/** `a`, `a and b`, `a, b and c`. */
export const listed = (parts: readonly string[]): string =>
  parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`;

export type CaptionOptions = {
  wording?: Wording;
  /** `full`: places and background are told, of one or two things their sizes too; `some`: a part of that, by chance. */
  detail?: 'some' | 'full';
};

/** One sentence about a scene. It names every thing; what else it says depends on `detail`. */
export function caption(
  world: World,
  { background, things }: Scene,
  random: Random,
  { wording = 'seen', detail = 'some' }: CaptionOptions = {},
): string {
  const says = (percent: number) => detail === 'full' || random.chance(percent);
  const tells = { place: says(75), background: says(65), size: things.length < 3 && says(50) };
  const parts = random.shuffle(things).map((thing) => {
    const phrase = phraseOf(world, thing, tells.size ? thing.size : undefined);
    return tells.place ? `${phrase} ${placeOf(thing.place, random, wording)}` : phrase;
  });
  const behind = tells.background ? random.pick(BACKGROUNDS[wording])(background) : '';
  return random.pick(OPENINGS[wording]) + listed(parts) + behind;
}

/** A scene and its caption, which the same numbers always give. */
export function captioned(world: World, id: SceneId, options?: CaptionOptions): { scene: Scene; caption: string } {
  const scene = makeScene(world, id);
  return { scene, caption: caption(world, scene, new Random('caption', id.seed, id.split, id.index), options) };
}
