// Scenes of the drawn world: what is where, as data. The picture and the words are made from it, so it is always true.
import type { World } from './drawings.ts';
import { hash, Random } from './random.ts';

/** Side of a picture. */
export const SIDE = 64;

/** Backgrounds, sRGB. */
export const COLOURS = {
  white: [255, 255, 255],
  black: [24, 24, 28],
  grey: [150, 150, 155],
  red: [220, 50, 47],
  orange: [245, 150, 50],
  yellow: [250, 220, 80],
  green: [70, 170, 80],
  blue: [60, 110, 220],
  purple: [140, 80, 190],
  pink: [245, 160, 195],
} as const;
export type Colour = keyof typeof COLOURS;
export const COLOUR_NAMES = Object.keys(COLOURS) as Colour[];

export const PLACES = ['left', 'right', 'top', 'bottom', 'middle'] as const;
export type Place = (typeof PLACES)[number];
export type Size = 'small' | 'big';

/** `name` is a concept's. The drawing fills the square of `side` pixels whose corner is at (x, y). */
export type Thing = { name: string; hand: string; size: Size; place: Place; x: number; y: number; side: number };
export type Scene = { background: Colour; things: Thing[] };

/** `seen` scenes are for training; things of `unseen` ones are all in combinations that no seen scene has. */
export type Split = 'seen' | 'unseen';

/** Which scene: number `index` of a seed. */
export type SceneId = { seed: number; index: number; split: Split };

/** Which tenth of concept x colour x place is kept out of training. */
export function isUnseen(name: string, background: Colour, place: Place): boolean {
  const key = `${name} ${background} ${place}`;
  const known = kept.get(key) ?? hash('combination', name, background, place) % 10 === 0;
  kept.set(key, known);
  return known;
}
const kept = new Map<string, boolean>(); // a scene asks for all things at each of its places

/** One to four things, each in another place, none far over another. */
export function makeScene(world: World, { seed, index, split }: SceneId): Scene {
  const random = new Random('scene', split, seed, index);
  const background = random.pick(COLOUR_NAMES);
  const count = random.pick([1, 1, 1, 2, 2, 2, 3, 3, 4, 4]);
  const boxes = arrange(random.shuffle(PLACES).slice(0, count), random);
  const things: Thing[] = [];
  for (const box of boxes) {
    const free = world.concepts.filter(
      ({ name }) =>
        isUnseen(name, background, box.place) === (split === 'unseen') && things.every((thing) => thing.name !== name),
    );
    const { name } = random.pick(free);
    things.push({ name, hand: random.pick(handsOf(world, name)), ...box });
  }
  return { background, things };
}

const handsOf = (world: World, name: string): string[] =>
  [...world.hands].filter(([, { drawn }]) => drawn.has(name)).map(([hand]) => hand);

type Box = Omit<Thing, 'name' | 'hand'>;

const SIDES = { small: [18, 22], big: [30, 36] } as const;
/** So far two squares may reach into one another: their corners are mostly empty. */
const OVERLAP = 4;
const TRIES = 8;

function arrange(places: readonly Place[], random: Random): Box[] {
  for (let i = 0; i < TRIES; i++) {
    const boxes = places.map((place) => boxAt(place, random.pick(['small', 'big']), random));
    if (boxes.every((a, k) => boxes.every((b, l) => l <= k || isApart(a, b)))) return boxes;
  }
  return places.map((place) => boxAt(place, 'small', random)); // five small ones always fit
}

function boxAt(place: Place, size: Size, random: Random): Box {
  const [low, high] = SIDES[size];
  const side = random.between(low, high);
  const middle = () => ((SIDE - side) >> 1) + random.between(-1, 1);
  const near = random.between(1, 2);
  const far = SIDE - side - near;
  const x = place === 'left' ? near : place === 'right' ? far : middle();
  const y = place === 'top' ? near : place === 'bottom' ? far : middle();
  return { size, place, x, y, side };
}

const isApart = (a: Box, b: Box): boolean => {
  const shared = (from: 'x' | 'y') => Math.min(a[from] + a.side, b[from] + b.side) - Math.max(a[from], b[from]);
  return Math.min(shared('x'), shared('y')) <= OVERLAP;
};

/** The same scene with one truth changed: another thing, its other size, two places swapped, or another background. */
export function changed(world: World, scene: Scene, random: Random): Scene {
  const things = scene.things.map((thing) => ({ ...thing }));
  const thing = random.pick(things);
  const kind = random.pick(['thing', 'thing', 'place', 'place', 'background', 'size'] as const);
  if (kind === 'thing') {
    const free = world.concepts.filter(({ name }) => things.every((other) => other.name !== name));
    thing.name = random.pick(free).name;
    thing.hand = random.pick(handsOf(world, thing.name));
  } else if (kind === 'place' && things.length > 1) {
    const other = random.pick(things.filter((one) => one !== thing));
    [thing.name, other.name] = [other.name, thing.name];
    [thing.hand, other.hand] = [other.hand, thing.hand];
  } else if (kind === 'place') {
    Object.assign(thing, boxAt(random.pick(PLACES.filter((place) => place !== thing.place)), thing.size, random));
  } else if (kind === 'size' && things.length === 1) {
    Object.assign(thing, boxAt(thing.place, thing.size === 'big' ? 'small' : 'big', random));
  } else {
    const background = random.pick(COLOUR_NAMES.filter((colour) => colour !== scene.background));
    return { background, things };
  }
  return { ...scene, things };
}
