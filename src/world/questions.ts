// Questions about scenes and their answers. The truth is the scene's; the wordings are seen in training or kept for tests.
import type { World } from './drawings.ts';
import { Random } from './random.ts';
import { COLOUR_NAMES, makeScene, PLACES, type Scene, type SceneId, type Thing } from './scene.ts';
import { listed, phraseOf, placeOf, type Wording, withArticle } from './words.ts';

export const KINDS = ['what', 'all', 'colour', 'where', 'size', 'count', 'yes-no', 'caption'] as const;
export type Kind = (typeof KINDS)[number] | 'compare' | 'talk';
export type Question = { kind: Kind; question: string; answer: string };

const NUMBERS = ['zero', 'one', 'two', 'three', 'four', 'five'];

/** Templates; X is what is asked about. */
const ASK: Record<string, Record<Wording, readonly string[]>> = {
  what: {
    seen: ['what is X?', 'what do you see X?', 'which thing is X?'],
    unseen: ['tell me what is X.', 'what has been drawn X?'],
  },
  all: {
    seen: [
      'what is in the picture?',
      'what does this picture show?',
      'what can you see?',
      'what is this?',
      'what do you see?',
    ],
    unseen: ['name everything in the picture.', 'which things were drawn here?'],
  },
  colour: {
    seen: [
      'what colour is the background?',
      'which colour does the background have?',
      'what is the colour of the background?',
    ],
    unseen: ['tell me the colour of the background.', 'the background: what colour?'],
  },
  where: {
    seen: ['where is X?', 'in which place is X?', 'where can you see X?'],
    unseen: ['tell me where X is.', 'which place does X have?'],
  },
  size: {
    seen: ['is X big or small?', 'how big is X?', 'is X small or big?'],
    unseen: ['what size is X?', 'small or big: how was X drawn?'],
  },
  count: {
    seen: [
      'how many things are there?',
      'how many things does the picture show?',
      'how many things can you see?',
      'how many are there?',
    ],
    unseen: ['count the things.', 'what is the number of things here?'],
  },
  has: { seen: ['is there X?', 'do you see X?', 'does the picture show X?'], unseen: ['can X be seen?', 'is X here?'] },
  isPlaced: { seen: ['is X?', 'do you see X?'], unseen: ['is it true that X?', 'would you say that X?'] },
  caption: {
    seen: ['describe the picture.', 'describe this picture.', 'what does the picture look like?', 'describe it.'],
    unseen: ['please describe what you see.', 'say all that you can about this picture.'],
  },
  hasColour: { seen: ['is the background X?', 'do you see a background in X?'], unseen: ['was X the colour behind?'] },
  which: {
    seen: ['which picture shows X?', 'which picture has X?'],
    unseen: ['where do you find X: first or second?'],
  },
  more: {
    seen: ['which picture shows more things?', 'which picture has more things?'],
    unseen: ['where are more things?'],
  },
  sameColour: {
    seen: ['do both pictures have the same background?', 'is the background the same in both pictures?'],
    unseen: ['are the backgrounds equal?'],
  },
};

/** A question of a kind about one scene, by default of any kind. */
export function ask(
  world: World,
  scene: Scene,
  random: Random,
  { kind = random.pick(KINDS), wording = 'seen' as Wording } = {},
): Question {
  const { things, background } = scene;
  const thing = random.pick(things);
  const fill = (template: keyof typeof ASK, x = '') => random.pick(ASK[template]![wording]).replace('X', x);
  const make = (question: string, answer: string): Question => ({ kind, question, answer });
  switch (kind) {
    case 'what':
      return make(fill('what', placeOf(thing.place, random)), phraseOf(world, thing));
    case 'all':
      return make(fill('all'), listed(inOrder(things).map((one) => phraseOf(world, one))));
    case 'colour':
      return make(fill('colour'), background);
    case 'where':
      return make(fill('where', `the ${thing.name}`), placeOf(thing.place, random));
    case 'size':
      return make(fill('size', `the ${thing.name}`), thing.size);
    case 'count':
      return make(fill('count'), NUMBERS[things.length]!);
    case 'yes-no':
      return make(...yesNo(world, scene, thing, random, fill));
    case 'caption':
      return make(fill('caption'), description(world, scene));
  }
}

/** The things from left to right, then top to bottom, then the middle: answers that list them have one order to learn. */
const inOrder = (things: readonly Thing[]) => PLACES.flatMap((place) => things.filter((one) => one.place === place));

/** All of a scene in one sentence: things and their places, of one or two their sizes, and the background. */
function description(world: World, { things, background }: Scene): string {
  const random = new Random(); // there is one wording for a place
  const parts = inOrder(things).map(
    (thing) => `${phraseOf(world, thing, things.length < 3 ? thing.size : undefined)} ${placeOf(thing.place, random)}`,
  );
  return `${listed(parts)} on ${withArticle(background)} background`;
}

/** A scene and one question of each kind, which the same numbers always give. */
export function questioned(
  world: World,
  id: SceneId,
  { wording = 'seen' as Wording } = {},
): { scene: Scene; questions: Question[] } {
  const scene = makeScene(world, id);
  const random = new Random('questions', id.seed, id.split, id.index);
  return { scene, questions: KINDS.map((kind) => ask(world, scene, random, { kind, wording })) };
}

/** As often yes as no. */
function yesNo(
  world: World,
  { things, background }: Scene,
  thing: Thing,
  random: Random,
  fill: (template: keyof typeof ASK, x: string) => string,
): [string, string] {
  const isTrue = random.chance(50);
  const answer = isTrue ? 'yes' : 'no';
  const about = random.pick(['has', 'has', 'isPlaced', 'hasColour'] as const);
  if (about === 'hasColour') {
    return [fill(about, isTrue ? background : random.pick(COLOUR_NAMES.filter((c) => c !== background))), answer];
  }
  if (about === 'isPlaced') {
    const place = isTrue ? thing.place : random.pick(PLACES.filter((one) => one !== thing.place));
    return [fill(about, `the ${thing.name} ${placeOf(place, random)}`), answer];
  }
  return [fill(about, phraseOf(world, isTrue ? thing : random.pick(absent(world, things)))), answer];
}

const absent = (world: World, things: readonly Thing[]) =>
  world.concepts.filter(({ name }) => things.every((thing) => thing.name !== name));

/** A question about two scenes, which are shown as the first and the second picture. */
export function compare(
  world: World,
  [first, second]: readonly [Scene, Scene],
  random: Random,
  { wording = 'seen' as Wording } = {},
): Question {
  const fill = (template: keyof typeof ASK, x = '') => random.pick(ASK[template]![wording]).replace('X', x);
  const make = (question: string, answer: string): Question => ({ kind: 'compare', question, answer });
  const about = random.pick(['which', 'which', 'more', 'sameColour'] as const);
  if (about === 'sameColour') return make(fill(about), first.background === second.background ? 'yes' : 'no');
  if (about === 'more') {
    const difference = first.things.length - second.things.length;
    return make(fill(about), difference === 0 ? 'both the same' : difference > 0 ? 'the first' : 'the second');
  }
  const thing = random.pick([...first.things, ...second.things]);
  const shows = ({ things }: Scene) => things.some(({ name }) => name === thing.name);
  const where = shows(first) ? (shows(second) ? 'both' : 'the first') : 'the second';
  return make(fill(about, phraseOf(world, thing)), where);
}
