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
  questioned,
  Random,
  type Scene,
  talk,
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
  const LONG = ['all', 'caption'] as const;
  const SHORT = KINDS.filter((kind) => kind !== 'all' && kind !== 'caption');
  test.each(SHORT)('of the kind %s are answered by the scene', (kind) => {
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
        what: () => phrase(at!.name),
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
      expect(truth).toBeDefined();
      expect(answer, question).toBe(truth);
    }
    if (kind === 'yes-no') expect([...answers].sort()).toEqual(['no', 'yes']);
    if (kind === 'colour') expect(answers.size).toBe(10);
    if (kind === 'where') expect(answers.size).toBe(5);
  });
  test.each(LONG)('of the kind %s are answered with every thing, in the order of places', (kind) => {
    const commas = (text: string) => text.replaceAll(' and ', ', ');
    for (const [i, scene] of scenes.entries()) {
      const things = PLACES.flatMap((place) => scene.things.filter((thing) => thing.place === place));
      const at = { left: 'on the', right: 'on the', top: 'at the', bottom: 'at the', middle: 'in the' };
      const sized = things.map((thing) => phraseOf(world, thing, things.length < 3 ? thing.size : undefined));
      const placed = things.map(({ place }, k) => `${sized[k]} ${at[place]} ${place}`).join(', ');
      const truth = {
        all: things.map(({ name }) => phrase(name)).join(', '),
        caption: `${placed} on ${scene.background === 'orange' ? 'an' : 'a'} ${scene.background} background`,
      }[kind];
      expect(commas(ask(world, scene, new Random(kind, i), { kind }).answer)).toBe(commas(truth));
    }
  });
  test('of a scene are the same for the same numbers', () => {
    const id = { seed: 3, index: 0, split: 'unseen' } as const;
    const { scene, questions } = questioned(world, id);
    expect(scene).toEqual(makeScene(world, id));
    expect(questions.map(({ kind }) => kind)).toEqual(KINDS);
    expect(questioned(world, id).questions).toEqual(questions);
    expect(questioned(world, { ...id, index: 1 }).questions).not.toEqual(questions);
    const other = questioned(world, id, { wording: 'unseen' }).questions.map(({ question }) => question);
    expect(questions.filter(({ question }) => other.includes(question))).toEqual([]);
  });
  test('without a picture are about words and kinds of things', () => {
    const said = upTo(3000).map((i) => talk(world, new Random('talk', i)));
    expect(new Set(said.map(({ kind }) => kind))).toEqual(new Set(['talk']));
    const answers = new Map(said.map(({ question, answer }) => [question, answer]));
    for (const { question, answer } of said) expect(answers.get(question), question).toBe(answer); // never two answers
    expect(answers.get('what kind of thing is a cat?')).toBe('an animal');
    expect(answers.get('what kind of thing is a fire engine?')).toBe('a vehicle');
    expect(answers.get('what kind of thing is a pencil?')).toBe('an object');
    expect(answers.get('what is another word for puppy?')).toBe('dog');
    const yes = said.filter(({ answer }) => answer === 'yes').length;
    const no = said.filter(({ answer }) => answer === 'no').length;
    expect(Math.abs(yes - no)).toBeLessThan(4 * Math.sqrt(yes + no)); // four standard deviations
    const unseen = upTo(300).map((i) => talk(world, new Random('talk', i), { wording: 'unseen' }).question);
    expect(unseen.filter((question) => answers.has(question))).toEqual([]);
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
