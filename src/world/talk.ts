// Talk about the drawn world without a picture: what kind of thing a thing is, other words for it, what there is.
import type { World } from './drawings.ts';
import type { Question } from './questions.ts';
import type { Random } from './random.ts';
import { COLOUR_NAMES } from './scene.ts';
import { listed, phraseOf, type Wording } from './words.ts';

/** Kinds of things and their members, by name; what is in no row is an object. */
const GROUPS: Record<string, string> = {
  'an animal':
    'monkey dog wolf fox cat lion tiger horse unicorn deer cow pig sheep goat camel elephant rhinoceros mouse rabbit ' +
    'squirrel bat bear koala panda chicken rooster chick bird penguin eagle duck owl frog crocodile turtle snake ' +
    'dragon whale dolphin fish shark octopus crab snail butterfly caterpillar ant bee ladybug spider scorpion',
  'a plant': 'rose sunflower tulip flower pine-tree tree palm-tree cactus clover maple-leaf',
  food:
    'mushroom grapes watermelon orange lemon banana pineapple apple pear peach cherries strawberry kiwi tomato ' +
    'avocado eggplant carrot corn chili-pepper bread croissant pancakes cheese hamburger french-fries pizza hot-dog ' +
    'taco egg fried-egg popcorn sushi ice-cream doughnut cookie birthday-cake cake chocolate candy lollipop honey',
  'a drink': 'milk coffee wine beer',
  'a building': 'house castle church',
  'a vehicle':
    'steam-train train bus ambulance fire-engine police-car taxi car truck tractor motorcycle bicycle sailboat ship ' +
    'airplane helicopter rocket',
};
const OTHER = 'an object';
const members = Object.entries(GROUPS).map(
  ([group, names]) => [group, new Set(names.split(' ').map((name) => name.replace('-', ' ')))] as const,
);
const groupOf = (name: string) => members.find(([, names]) => names.has(name))?.[0] ?? OTHER;

const COLOURS = `${listed(COLOUR_NAMES)}.`;
/** Questions that always have the same answer. */
const FIXED: Record<Wording, readonly (readonly [string, string])[]> = {
  seen: [
    ['hello!', 'hello! show me a drawing.'],
    ['hello.', 'hello! show me a drawing.'],
    ['who are you?', 'i am a very small model of a drawn world.'],
    ['what are you?', 'i am a very small model of a drawn world.'],
    ['what can you do?', 'i can name things in drawings, and say where they are, how big and how many.'],
    ['what do you know?', 'i know a drawn world of two hundred things, and nothing else.'],
    ['which colours do you know?', COLOURS],
    ['which colours are there?', COLOURS],
    ['what is in the picture?', 'i see no picture. show me one.'],
    ['describe the picture.', 'i see no picture. show me one.'],
    ['what do you see?', 'i see no picture. show me one.'],
    ['thank you!', 'you are welcome.'],
    ['good bye!', 'good bye!'],
  ],
  unseen: [
    ['hello, you!', 'hello! show me a drawing.'],
    ['tell me the colours that you know.', COLOURS],
    ['tell me what you are.', 'i am a very small model of a drawn world.'],
  ],
};
const ASK: Record<string, Record<Wording, readonly string[]>> = {
  kind: { seen: ['what kind of thing is X?', 'which kind of thing is X?'], unseen: ['X: what kind of thing is that?'] },
  is: { seen: ['is X Y?', 'do you think that X is Y?'], unseen: ['would you say that X is Y?'] },
  word: {
    seen: ['what is another word for X?', 'what does the word X mean?'],
    unseen: ['tell me another word for X.'],
  },
};

/** A question that needs no picture. */
export function talk(world: World, random: Random, { wording = 'seen' as Wording } = {}): Question {
  const about = random.pick(['kind', 'kind', 'is', 'is', 'word', 'fixed'] as const);
  if (about === 'fixed') {
    const [question, answer] = random.pick(FIXED[wording]);
    return { kind: 'talk', question, answer };
  }
  const fill = (x: string, y = '') => random.pick(ASK[about]![wording]).replace('X', x).replace('Y', y);
  if (about === 'word') {
    const { name, synonyms } = random.pick(world.concepts.filter((concept) => concept.synonyms.length > 0));
    return { kind: 'talk', question: fill(random.pick(synonyms).toLowerCase()), answer: name };
  }
  // groups as often as one another, so that "an object" is no good guess
  const group = random.pick([...Object.keys(GROUPS), OTHER]);
  const concept = random.pick(world.concepts.filter(({ name }) => groupOf(name) === group));
  const phrase = phraseOf(world, concept);
  if (about === 'kind') return { kind: 'talk', question: fill(phrase), answer: group };
  const isTrue = random.chance(50);
  const others = [...Object.keys(GROUPS), OTHER].filter((one) => one !== group);
  return {
    kind: 'talk',
    question: fill(phrase, isTrue ? group : random.pick(others)),
    answer: isTrue ? 'yes' : 'no',
  };
}
