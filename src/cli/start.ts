// tessera start: the shipped model names drawings by a hand that it has never seen.
import process from 'node:process';
import type { Command } from 'commander';
import { load_image } from '../tasks/load-image.ts';
import { shipped } from '../tasks/shipped.ts';
import type { Classification } from '../tasks/zero-shot-image-classification.ts';
import { rows, seconds, withClassifier } from './classifier.ts';
import { type DeviceOptions, print, printJson, withDevice } from './options.ts';
import { beside, paint, percent, type Terminal, terminalOf } from './terminal.ts';
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
  await withClassifier(await shipped('tessera-clip'), options, async ({ classify, about, where, load }) => {
    say(
      `tessera-clip names ${drawings.length} drawings by a hand that it has never seen, among ${labels.length} things.`,
    );
    say(paint(terminal, 'dim', `${where}, loaded in ${seconds(load)}`));
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
      if (!options.json) say(`\n${await beside(image, describe(result, terminal), terminal)}`);
    }
    const right = results.filter((result) => result.right).length;
    const shown = results.filter(({ rank }) => rank > 0 && rank <= SHOWN).length;
    if (options.json) {
      const score = { pictures: results.length, right, first_five: shown };
      const time_ms = { load: Math.round(load), classify: Math.round(time) };
      const { hypothesis_template } = classify;
      return printJson({ command: 'start', ...about, hypothesis_template, time_ms, score, results });
    }
    const chance = [1, SHOWN].map((n) => percent(n / labels.length).trim());
    say(`\n${right} of ${results.length} right, ${shown} among the first five (by chance ${chance.join(' and ')})`);
    say(`${where}: ${labels.length} labels and ${results.length} pictures in ${seconds(time)}`);
  });
}

function describe({ truth, right, labels }: Result, terminal: Terminal): string[] {
  const verdict = right ? paint(terminal, 'green', 'right') : paint(terminal, 'red', 'wrong');
  return [`${paint(terminal, 'bold', truth)}: ${verdict}`, ...rows(labels, terminal)];
}
