// Lessons about the drawn world: a picture, and questions about it with their answers.
import type { Pixels } from '../io/pixels.ts';
import type { World } from './drawings.ts';
import { ask, KINDS, type Question } from './questions.ts';
import { Random } from './random.ts';
import { render } from './render.ts';
import { COLOUR_NAMES, makeScene, type Scene, type SceneId, SIDE } from './scene.ts';
import { phraseOf } from './words.ts';

export type Lesson = { image: Pixels; turns: Pick<Question, 'question' | 'answer'>[] };

/** One lesson in so many shows a single thing that fills the picture. */
const SINGLE = 3;

/** A scene and a question of each kind, or (for training) one thing that fills the picture; the same numbers give the same. */
export function lesson(world: World, id: SceneId): Lesson {
  const random = new Random('lesson', id.seed, id.split, id.index);
  if (id.split === 'seen' && id.index % SINGLE === SINGLE - 1) return single(world, random);
  const scene = makeScene(world, id);
  const asked = KINDS.map((kind) => ask(world, scene, random, { kind }));
  return { image: render(world, scene), turns: random.shuffle(asked) };
}

const WHAT = ['what is in the picture?', 'what does this picture show?', 'what can you see?', 'what is this?'];

function single(world: World, random: Random): Lesson {
  const { name } = random.pick(world.concepts);
  const hands = [...world.hands].filter(([, { drawn }]) => drawn.has(name)).map(([hand]) => hand);
  const side = random.between(SIDE - 12, SIDE);
  const [x, y] = [random.between(0, SIDE - side), random.between(0, SIDE - side)];
  const background = random.chance(60) ? ('white' as const) : random.pick(COLOUR_NAMES);
  const scene: Scene = {
    background,
    things: [{ name, hand: random.pick(hands), size: 'big', place: 'middle', x, y, side }],
  };
  return { image: render(world, scene), turns: [{ question: random.pick(WHAT), answer: phraseOf(world, { name }) }] };
}
