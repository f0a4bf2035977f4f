// tessera start: the shipped model names drawings by a hand that it has never seen.
import process from 'node:process';
import type { Command } from 'commander';
import { load_image } from '../tasks/load-image.ts';
import { shipped } from '../tasks/shipped.ts';
import type { Classification } from '../tasks/zero-shot-image-classification.ts';
import { rows, seconds, withClassifier } from './classifier.ts';
import { type DeviceOptions, withDevice } from './options.ts';
import { complain, print, printJson } from './output.ts';
import { beside, paint, percent, type Terminal, terminalOf } from './terminal.ts';
import { pad, widest } from './text.ts';
import { readConcepts, readDrawings } from './world.ts';

const SHOWN = 5;

export function addStart(program: Command): void {
  const command = program
    .command('start')
    .description('Shows the model that ships with the package at work: it names drawings by a hand it has never seen.');
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
  const [concepts, drawings] = await Promise.all([readConcepts(), readDrawings()]);
  const phrases = new Map(concepts.map(({ name, phrase }) => [name, phrase]));
  const labels = [...phrases.values()];
  const terminal = terminalOf(process.stdout, process.env);
  const say = options.json ? () => {} : print;
  say(
    `tessera-clip, a small model that ships with Tessera, looks at ${drawings.length} drawings by a hand it has never seen: ` +
      `which of ${labels.length} things is each?`,
  );
  await withClassifier(await shipped('tessera-clip'), options, async ({ classify, about, where, load }) => {
    if (!options.json && classify.model.device.adapter.name === 'llvmpipe') {
      complain('(Lines that begin with "Warning:" are on limits of this software driver, and harmless.)');
    }
    say(paint(terminal, 'dim', `${where}, loaded in ${seconds(load)}`));
    const isTable = terminal.pictures === 'none';
    const width = widest(labels);
    const line = (...[drawing, guess, score, verdict]: string[]) =>
      `${pad(drawing!, width)}  ${pad(guess!, width)}  ${score!.padStart(7)}  ${verdict}`;
    if (isTable) say(`\n${paint(terminal, 'bold', line('the drawing', 'its first guess', 'score', '').trimEnd())}`);
    const results: Result[] = [];
    let time = 0;
    for (const { file, path, name } of drawings) {
      const image = await load_image(path);
      const from = performance.now();
      const found = await classify(image, labels);
      time += performance.now() - from;
      const truth = phrases.get(name) ?? name;
      const rank = 1 + found.findIndex(({ label }) => label === truth);
      const result = { picture: file, truth, rank, right: rank === 1, labels: found.slice(0, SHOWN) };
      results.push(result);
      const [{ label, score }] = found as [Classification];
      if (isTable) say(line(truth, label, percent(score), verdict(result, terminal)));
      else if (!options.json) say(`\n${await beside(image, describe(result, terminal), terminal)}`);
    }
    const right = results.filter((result) => result.right).length;
    const shown = results.filter(({ rank }) => rank > 0 && rank <= SHOWN).length;
    if (options.json) {
      const score = { pictures: results.length, right, first_five: shown };
      const time_ms = { load: Math.round(load), classify: Math.round(time) };
      const { hypothesis_template } = classify;
      return printJson({ command: 'start', ...about, hypothesis_template, time_ms, score, results });
    }
    const chance = (first: number) => `chance is ${(results.length * first) / labels.length}`;
    const [first, all] = [
      `${right} of ${results.length} right; ${chance(1)}.`,
      `${shown} among the first five; ${chance(SHOWN)}.`,
    ];
    say(`\n${paint(terminal, 'bold', first)} ${all}`);
    say(
      `${labels.length} labels and ${results.length} pictures in ${seconds(time)}. Your own: tessera classify photo.jpg --labels "a cat,a dog"`,
    );
  });
}

const verdict = ({ right, rank }: Result, terminal: Terminal): string =>
  right ? paint(terminal, 'green', 'right') : paint(terminal, 'red', `wrong, guess ${rank} is right`);

const describe = (result: Result, terminal: Terminal): string[] => [
  `${paint(terminal, 'bold', result.truth)}: ${verdict(result, terminal)}`,
  ...rows(result.labels, terminal),
];
