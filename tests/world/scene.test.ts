// Scenes: the same from the same seed, true of their pixels, and never of both splits.
import { describe, expect, test } from 'vitest';
import {
  COLOUR_NAMES,
  COLOURS,
  changed,
  isUnseen,
  makeScene,
  PLACES,
  Random,
  render,
  type Scene,
  SIDE,
} from '../../src/world/index.ts';
import { sha256 } from '../sha256.ts';
import { readFrom, theWorld, upTo } from './support.ts';

const world = await theWorld();
const scenes = (count: number, split: 'seen' | 'unseen' = 'seen', seed = 7) =>
  upTo(count).map((index) => makeScene(world, { seed, index, split }));

/** Where a picture is not its background: the mean place, and the sides of the box around it. */
function found(scene: Scene) {
  const { data } = render(world, scene);
  const isThing = (i: number) => COLOURS[scene.background].some((value, c) => data[3 * i + c] !== value);
  const at = upTo(SIDE * SIDE).filter(isThing);
  const [xs, ys] = [at.map((i) => i % SIDE), at.map((i) => Math.floor(i / SIDE))];
  const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  return {
    at,
    x: mean(xs),
    y: mean(ys),
    extent: Math.max(...[xs, ys].map((l) => Math.max(...l) - Math.min(...l) + 1)),
  };
}

describe('a seed', () => {
  test('gives the same scenes and pixels for good', async () => {
    expect(makeScene(world, { seed: 1, index: 2, split: 'seen' })).toMatchInlineSnapshot(`
      {
        "background": "white",
        "things": [
          {
            "hand": "fxemoji",
            "name": "doughnut",
            "place": "left",
            "side": 19,
            "size": "small",
            "x": 2,
            "y": 21,
          },
          {
            "hand": "twemoji",
            "name": "duck",
            "place": "middle",
            "side": 18,
            "size": "small",
            "x": 24,
            "y": 22,
          },
          {
            "hand": "fxemoji",
            "name": "spider",
            "place": "right",
            "side": 22,
            "size": "small",
            "x": 41,
            "y": 20,
          },
        ],
      }
    `);
    const pixels = scenes(20).flatMap((scene) => [...render(world, scene).data]);
    expect(await sha256(Uint8Array.from(pixels))).toMatchInlineSnapshot(
      `"f9d8fd7552a485c0fe86ee5f50ec00f8e1e5a469f32d46e14bfb97c641fb45be"`,
    );
  });
  test('gives each number a scene of its own', () => {
    const all = [...scenes(200), ...scenes(200, 'unseen'), ...scenes(200, 'seen', 8)];
    expect(new Set(all.map((scene) => JSON.stringify(scene))).size).toBe(600);
  });
  test('spreads its numbers evenly', () => {
    const random = new Random('even');
    const counts = new Array(10).fill(0);
    for (let i = 0; i < 10_000; i++) counts[random.below(10)]++;
    const square = counts.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
    expect(square).toBeLessThan(27.9); // chi-square, 9 degrees: one seed in a thousand is above
  });
});

describe('what a scene says', () => {
  test('lies in different places, on one of the colours, by hands that have drawn it', () => {
    for (const { background, things } of scenes(300)) {
      expect(COLOUR_NAMES).toContain(background);
      expect(things.length).toBeGreaterThanOrEqual(1);
      expect(things.length).toBeLessThanOrEqual(4);
      for (const key of ['name', 'place'] as const) {
        expect(new Set(things.map((thing) => thing[key])).size).toBe(things.length);
      }
      for (const { name, hand, x, y, side } of things) {
        expect(world.hands.get(hand)!.drawn.has(name), `${hand} ${name}`).toBe(true);
        expect(Math.min(x, y)).toBeGreaterThanOrEqual(0);
        expect(Math.max(x, y) + side).toBeLessThanOrEqual(SIDE);
      }
    }
  });
  test('is seen: what is said to be left is left, what is big is big', () => {
    for (const scene of scenes(400).filter(({ things }) => things.length === 1)) {
      const { name, hand, place, size } = scene.things[0]!;
      const { x, y, extent } = found(scene);
      const [right, down] = [x - (SIDE - 1) / 2, y - (SIDE - 1) / 2];
      const off = { left: -right, right, top: -down, bottom: down, middle: 0 };
      const note = `${name} by ${hand}, ${size}, ${place}: ${x}, ${y}, ${extent}`;
      for (const other of PLACES) if (place !== 'middle') expect(off[place], note).toBeGreaterThanOrEqual(off[other]);
      if (place === 'middle') expect(Math.max(Math.abs(right), Math.abs(down)), note).toBeLessThan(8);
      else expect(off[place], note).toBeGreaterThan(8);
      expect(extent > 24, note).toBe(size === 'big');
    }
  });
  test('is all there is: outside of the squares there is background', () => {
    for (const scene of scenes(100)) {
      const inside = (i: number) =>
        scene.things.filter(
          ({ x, y, side }) => i % SIDE >= x && i % SIDE < x + side && i >= y * SIDE && i < (y + side) * SIDE,
        );
      const { at } = found(scene);
      expect(at.filter((i) => inside(i).length === 0)).toEqual([]);
      for (const thing of scene.things) {
        expect(at.filter((i) => inside(i).includes(thing)).length, thing.name).toBeGreaterThan(thing.side);
      }
    }
  });
  test('changes in one truth, and in the picture with it', () => {
    for (const [i, scene] of scenes(200).entries()) {
      const other = changed(world, scene, new Random('other', i));
      expect(JSON.stringify(other), `${i}`).not.toBe(JSON.stringify(scene));
      expect(Buffer.compare(render(world, other).data, render(world, scene).data), `${i}`).not.toBe(0);
      for (const { name, hand } of other.things) expect(world.hands.get(hand)!.drawn.has(name)).toBe(true);
    }
  });
});

describe('splits', () => {
  test('have no combination in common', () => {
    const combinations = (split: 'seen' | 'unseen') =>
      scenes(1000, split).flatMap(({ background, things }) =>
        things.map((t) => [t.name, background, t.place] as const),
      );
    expect(combinations('seen').filter((one) => isUnseen(...one))).toEqual([]);
    expect(combinations('unseen').filter((one) => !isUnseen(...one))).toEqual([]);
  });
  test('keep a tenth for tests, of each thing and each colour', () => {
    const shares = world.concepts.map(({ name }) => {
      const all = COLOUR_NAMES.flatMap((colour) => PLACES.map((place) => isUnseen(name, colour, place)));
      return all.filter(Boolean).length / all.length;
    });
    expect(shares.reduce((a, b) => a + b) / shares.length).toBeCloseTo(0.1, 2);
    expect(Math.max(...shares)).toBeLessThan(0.4); // every thing is trained on in most combinations
    for (const colour of COLOUR_NAMES) {
      for (const place of PLACES) {
        const kept = world.concepts.filter(({ name }) => isUnseen(name, colour, place));
        expect(kept.length, `${colour} ${place}`).toBeGreaterThanOrEqual(4); // four things can always be found
      }
    }
  });
  test('leave the unseen hand out of every scene, and every concept has hands', async () => {
    const tests = JSON.parse(String(await readFrom('tests.json')));
    expect([...world.hands.keys()]).not.toContain(tests.unseen_hand);
    expect(tests.concepts).toEqual(world.concepts.map(({ name }) => name));
    for (const { name } of world.concepts) {
      const hands = [...world.hands.values()].filter(({ drawn }) => drawn.has(name));
      expect(hands.length, name).toBeGreaterThanOrEqual(4);
    }
  });
});
