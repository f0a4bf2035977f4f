// tessera start: the shipped models at work. tessera-clip names drawings by a hand that it has never seen, and finds the captions
// of scenes; tessera-llava talks about scenes; tessera-diffusion draws.
import process from 'node:process';
import type { Command } from 'commander';
import { shipped } from '../tasks/shipped.ts';
import type { Classification } from '../tasks/zero-shot-image-classification.ts';
import { type Opened, rows, withClassifier } from './classifier.ts';
import { type DeviceOptions, onDevice, withDevice } from './options.ts';
import { complain, print, printJson } from './output.ts';
import { circle } from './start-circle.ts';
import { talk } from './start-talk.ts';
import { seconds } from './table.ts';
import { bar, beside, paint, percent, roomBeside, type Terminal, terminalOf } from './terminal.ts';
import { pad, widest, wrap } from './text.ts';
import { type Example, readConcepts, readDrawings, readScenes } from './world.ts';
import { withSeer } from './writer.ts';

const SHOWN = 5;
/** Of the held-out scenes the first few are looked at; the captions of all are the labels. */
const SCENES = 5;

export function addStart(program: Command): void {
  const command = program
    .command('start')
    .description(
      'Shows the models that ship with the package at work: they name drawings, talk about scenes, draw, and look at what they drew.',
    );
  withDevice(command)
    .addHelpText(
      'after',
      `
Examples:
  tessera start
  tessera start --adapter software
  tessera start --json`,
    )
    .action(start);
}

type Result = {
  picture: string;
  truth: string;
  /** Place of the truth among the labels, from 1; 0: not among them. */
  rank: number;
  right: boolean;
  labels: Classification[];
};

async function start(options: DeviceOptions): Promise<void> {
  const concepts = await readConcepts();
  const [drawings, scenes] = await Promise.all([readDrawings(concepts), readScenes()]);
  const labels = concepts.map(({ phrase }) => phrase);
  const captions = scenes.map(({ truth }) => truth);
  const terminal = terminalOf(process.stdout, process.env);
  const say = options.json ? () => {} : print;
  say(
    `tessera-clip, a small model that ships with Tessera, looks at ${drawings.length} drawings by a hand it has never seen: ` +
      `which of ${labels.length} things is each?`,
  );
  await onDevice(options, async (device) => {
    const on = { ...options, device };
    await withClassifier(await shipped('tessera-clip'), on, async (opened) => {
      const found = await look(opened, { drawings, labels, scenes, captions }, options, terminal);
      await withSeer({ ...on, model: await shipped('tessera-llava') }, async ({ task: seer }) => {
        const conversations = await talk(seer, options, terminal);
        const drawn = await circle(on, { classify: opened.classify, labels, seer }, terminal);
        if (options.json) printJson({ ...found, conversations, circle: drawn });
      });
    });
  });
}

type World = {
  drawings: readonly Example[];
  labels: readonly string[];
  scenes: readonly Example[];
  captions: readonly string[];
};

/** Drawings and scenes by name: what --json has of them. */
async function look(
  { classify, about, where, load }: Opened,
  { drawings, labels, scenes, captions }: World,
  { json }: DeviceOptions,
  terminal: Terminal,
): Promise<object> {
  const say = json ? () => {} : print;
  if (!json && classify.model.device.adapter.name === 'llvmpipe') {
    complain('(Lines that begin with "Warning:" are on limits of this software driver, and harmless.)');
  }
  say(paint(terminal, 'dim', `${where}, loaded in ${seconds(load)}`));
  const isTable = terminal.pictures === 'none';
  const width = widest(labels);
  const line = (...[drawing, guess, score, verdict]: string[]) =>
    `${pad(drawing!, width)}  ${pad(guess!, width)}  ${score!.padStart(7)}  ${verdict}`;
  if (isTable) say(`\n${paint(terminal, 'bold', line('the drawing', 'its first guess', 'score', '').trimEnd())}`);
  const things = await examine(classify, drawings, labels, {}, async (result, image) => {
    const [{ label, score }] = result.labels as [Classification];
    if (isTable) say(line(result.truth, label, percent(score), verdict(result, terminal)));
    else if (!json) say(`\n${await beside(image, describe(result, terminal), terminal)}`);
  });
  say(`\n${summary(things, labels.length, terminal)}`);
  say(`\nAnd ${SCENES} scenes, in combinations that it has never seen: which of ${captions.length} captions is each?`);
  const some = scenes.slice(0, SCENES);
  const places = await examine(classify, some, captions, { hypothesis_template: '{}' }, async (result, image) => {
    if (!json) say(`\n${await beside(image, describeScene(result, terminal), terminal)}`);
  });
  say(`\n${summary(places, captions.length, terminal)}`);
  say(
    `${drawings.length} pictures with ${labels.length} labels in ${seconds(things.time)}, ${SCENES} scenes in ${seconds(places.time)}. ` +
      'Your own: tessera classify photo.jpg --labels "a cat,a dog"',
  );
  const { hypothesis_template } = classify;
  const time_ms = { load: Math.round(load), classify: Math.round(things.time), scenes: Math.round(places.time) };
  const { score, results } = things;
  const more = { labels: captions.length, score: places.score, results: places.results };
  return { command: 'start', ...about, hypothesis_template, time_ms, score, results, scenes: more };
}

type Examined = {
  results: Result[];
  time: number;
  score: { pictures: number; right: number; first_five: number };
};

/** Names each picture, and shows what came of it. */
async function examine(
  classify: Opened['classify'],
  examples: readonly Example[],
  labels: readonly string[],
  options: { hypothesis_template?: string },
  show: (result: Result, image: Example['image']) => Promise<void>,
): Promise<Examined> {
  const results: Result[] = [];
  let time = 0;
  for (const { picture, image, truth } of examples) {
    const from = performance.now();
    const found = await classify(image, labels, options);
    time += performance.now() - from;
    const rank = 1 + found.findIndex(({ label }) => label === truth);
    const result = { picture, truth, rank, right: rank === 1, labels: found.slice(0, SHOWN) };
    results.push(result);
    await show(result, image);
  }
  const right = results.filter((result) => result.right).length;
  const first_five = results.filter(({ rank }) => rank > 0 && rank <= SHOWN).length;
  return { results, time, score: { pictures: results.length, right, first_five } };
}

function summary({ score: { pictures, right, first_five } }: Examined, labels: number, terminal: Terminal): string {
  const chance = (first: number) => `chance is ${(pictures * first) / labels}`;
  const first = paint(terminal, 'bold', `${right} of ${pictures} right; ${chance(1)}.`);
  return `${first} ${first_five} among the first five; ${chance(SHOWN)}.`;
}

const verdict = ({ right, rank }: Result, terminal: Terminal): string =>
  right ? paint(terminal, 'green', 'right') : paint(terminal, 'red', `wrong, guess ${rank} is right`);

const describe = (result: Result, terminal: Terminal): string[] => [
  `${paint(terminal, 'bold', result.truth)}: ${verdict(result, terminal)}`,
  ...rows(result.labels, terminal),
];

/** Captions are long: they stand behind their bars, and go on in the next line. */
function describeScene(result: Result, terminal: Terminal): string[] {
  const room = roomBeside(terminal, process.stdout.columns);
  const before = ' '.repeat(20);
  return [
    ...wrap(result.truth, room).map((part) => paint(terminal, 'bold', part)),
    verdict(result, terminal),
    ...result.labels.flatMap(({ label, score }) => {
      const [first, ...more] = wrap(label, room - before.length);
      return [
        `  ${paint(terminal, 'cyan', bar(score, 8))} ${percent(score)}  ${first}`,
        ...more.map((part) => before + part),
      ];
    }),
  ];
}
