// Captions, questions and answers: true of their scenes, and unseen wordings that are not seen ones.
import { describe, expect, test } from 'vitest';
import { AutoTokenizer } from '../../src/tasks/auto.ts';
import { shipped } from '../../src/tasks/shipped.ts';
import {
  ask,
  COLOUR_NAMES,
  caption,
  captioned,
  changed,
  compare,
  KINDS,
  makeScene,
  PLACES,
  phraseOf,
  Random,
  type Scene,
  type Wording,
} from '../../src/world/index.ts';
import { theWorld, upTo } from './support.ts';

const world = await theWorld();
const scenes = upTo(400).map((index) => makeScene(world, { seed: 3, index, split: 'seen' }));
const phrase = (name: string) => phraseOf(world, { name });
const has = (text: string, part: string) => new RegExp(`(^|[^a-z])${part}([^a-z]|$)`).test(text);
/** The thing with the longest phrase in a question: `a spider web` is no spider. */
const asksAbout = (question: string) =>
  world.concepts.filter((concept) => has(question, concept.phrase)).sort((a, b) => b.phrase.length - a.phrase.length)[0]
    ?.name;
/** A text without what is true of the scene: its wording. */
const wording = (text: string, { background, things }: Scene) =>
  things
    .flatMap((thing) => [phraseOf(world, thing, thing.size), phrase(thing.name), thing.name, thing.size])
    .concat(background)
    .reduce((rest, part) => rest.replaceAll(part, '_'), text);

describe('captions', () => {
  test('are the same for the same numbers', () => {
    expect(
      upTo(3).map((index) => captioned(world, { seed: 3, index, split: 'unseen' }, { detail: 'full' }).caption),
    ).toMatchInlineSnapshot(`
      [
        "this picture shows a basketball in the middle, a croissant on the right and a spoon at the top on a pink background",
        "a drawing of a small loaf of bread at the top and a small lion on the right with a black background",
        "this picture shows a small phone on the left, and the background is white",
      ]
    `);
  });
  test('tell the whole truth when they are full', () => {
    for (const [i, scene] of scenes.entries()) {
      const text = caption(world, scene, new Random('full', i), { detail: 'full' });
      expect(text).toMatch(new RegExp(` (background is )?${scene.background}( background)?$`));
      for (const thing of scene.things) {
        const size = scene.things.length < 3 ? thing.size : undefined;
        const at = { left: 'on the', right: 'on the', top: 'at the', bottom: 'at the', middle: 'in the' }[thing.place];
        expect(text).toContain(`${phraseOf(world, thing, size)} ${at} ${thing.place}`);
      }
    }
  });
  test('name everything in any case, and nothing that is not there', () => {
    for (const [i, scene] of scenes.entries()) {
      for (const use of ['seen', 'unseen'] as const) {
        const text = caption(world, scene, new Random('some', i), { wording: use });
        for (const { name } of scene.things) {
          const [, rest] = /^(?:an? |the )?(.*)$/.exec(phrase(name))!;
          expect(has(text, rest!), `${text}: ${name}`).toBe(true);
        }
        for (const colour of COLOUR_NAMES) {
          const isOther =
            colour !== scene.background && scene.things.every(({ name }) => !phrase(name).includes(colour));
          if (isOther) expect(has(text, colour), text).toBe(false);
        }
      }
    }
  });
  test('differ where one truth has changed', () => {
    for (const [i, scene] of scenes.entries()) {
      const text = (one: Scene) => caption(world, one, new Random('change', i), { detail: 'full' });
      expect(text(changed(world, scene, new Random('other', i))), text(scene)).not.toBe(text(scene));
    }
  });
  test('have articles that fit', () => {
    const text = scenes
      .map((scene, i) => caption(world, scene, new Random('article', i), { detail: 'full' }))
      .join('. ');
    expect(text.match(/\b(a [aeio]\w+|an [^aeiou]\w+)/g)).toBeNull();
    expect(phraseOf(world, { name: 'owl' }, 'small')).toBe('a small owl');
    expect(phraseOf(world, { name: 'sun' }, 'big')).toBe('the big sun');
    expect(phraseOf(world, { name: 'grapes' }, 'big')).toBe('big grapes');
  });
  test('fit into the text tower of tessera-clip', async () => {
    const tokenizer = await AutoTokenizer.from_pretrained(await shipped('tessera-clip'));
    const texts = scenes.flatMap((scene, i) =>
      (['seen', 'unseen'] as const).map((use) =>
        caption(world, scene, new Random(i), { wording: use, detail: 'full' }),
      ),
    );
    const lengths = tokenizer(texts, { padding: false }).input_ids.map((ids) => ids.length);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(48);
  });
});

describe('questions', () => {
  test.each(KINDS)('of the kind %s are answered by the scene', (kind) => {
    const answers = new Set<string>();
    for (const [i, scene] of scenes.entries()) {
      const { question, answer, kind: said } = ask(world, scene, new Random(kind, i), { kind });
      expect(said).toBe(kind);
      answers.add(answer);
      const asked = scene.things.filter(({ name }) => has(question, `the ${name}`));
      const place = PLACES.find((one) => has(question, `(on|at|in) the ${one}`));
      const at = scene.things.find((thing) => thing.place === place);
      const colour = COLOUR_NAMES.find((one) => has(question, one));
      const truth = {
        what: () => (at ? phrase(at.name) : undefined),
        colour: () => scene.background,
        where: () => asked.find((thing) => has(answer, thing.place)) && answer,
        size: () => asked.find(({ size }) => size === answer)?.size,
        count: () => ['zero', 'one', 'two', 'three', 'four'][scene.things.length],
        'yes-no': () => {
          if (question.includes('background')) return colour === scene.background ? 'yes' : 'no';
          if (place) return asked.some((thing) => thing.place === place) ? 'yes' : 'no';
          return scene.things.some(({ name }) => name === asksAbout(question)) ? 'yes' : 'no';
        },
      }[kind]();
      if (truth === undefined) for (const { name } of scene.things) expect(answer, question).toContain(phrase(name));
      else expect(answer, question).toBe(truth);
    }
    if (kind === 'yes-no') expect([...answers].sort()).toEqual(['no', 'yes']);
    if (kind === 'colour') expect(answers.size).toBe(10);
    if (kind === 'where') expect(answers.size).toBe(5);
  });
  test('that compare are answered by the two scenes', () => {
    const answers = new Set<string>();
    for (const [i, first] of scenes.entries()) {
      const second = scenes[(i + 1) % scenes.length]!;
      const { question, answer } = compare(world, [first, second], new Random('two', i));
      answers.add(answer);
      const shows = ({ things }: Scene) => things.some(({ name }) => name === asksAbout(question));
      const count = first.things.length - second.things.length;
      const truth = question.includes('background')
        ? first.background === second.background
          ? 'yes'
          : 'no'
        : question.includes('more things')
          ? ['the second', 'both the same', 'the first'][Math.sign(count) + 1]
          : shows(first)
            ? shows(second)
              ? 'both'
              : 'the first'
            : 'the second';
      expect(answer, question).toBe(truth);
    }
    expect(answers.size).toBe(6);
  });
});

test('unseen wordings are not among the seen', () => {
  const all = (use: Wording) => {
    const found = new Set<string>();
    for (const [i, scene] of scenes.entries()) {
      const random = new Random('wording', i);
      found.add(wording(caption(world, scene, random, { wording: use, detail: 'full' }), scene));
      for (const kind of KINDS) {
        if (kind !== 'yes-no') found.add(wording(ask(world, scene, random, { kind, wording: use }).question, scene));
      }
      found.add(compare(world, [scene, scenes[(i + 1) % scenes.length]!], random, { wording: use }).question);
    }
    return found;
  };
  const [seen, unseen] = [all('seen'), all('unseen')];
  expect([...unseen].filter((one) => seen.has(one))).toEqual([]);
});
