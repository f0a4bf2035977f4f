// tessera start: the shipped model names drawings by a hand that it has never seen.
import process from 'node:process';
import type { Command } from 'commander';
import { load_image } from '../tasks/load-image.ts';
import { pipeline } from '../tasks/pipeline.ts';
import { shipped } from '../tasks/shipped.ts';
import { rows } from './classify.ts';
import { type DeviceOptions, onDevice, print, printJson, provenance, withDevice } from './options.ts';
import { loadingBar } from './progress.ts';
import { beside, paint, terminalOf } from './terminal.ts';
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

async function start(options: DeviceOptions): Promise<void> {
  const [concepts, drawings] = await Promise.all([readConcepts(), readDrawings()]);
  const phraseOf = new Map(concepts.map(({ name, phrase }) => [name, phrase]));
  const labels = concepts.map(({ phrase }) => phrase);
  const model = await shipped('tessera-clip');
  const terminal = terminalOf(process.stdout, process.env);
  const bars = await loadingBar();
  await onDevice(options, async (device) => {
    const begin = performance.now();
    const { dtype } = options;
    const { progress_callback } = bars;
    using classifier = await pipeline('zero-shot-image-classification', model, { device, dtype, progress_callback }).finally(bars.stop);
    const load = performance.now() - begin;
    const { name, software } = device.adapter;
    const on = `${name}${software ? ' (software)' : ''} in ${device.adapter.runtime}, ${dtype}, exact`;
    if (!options.json) {
      print(`tessera-clip names ${drawings.length} drawings among ${labels.length} things, by a hand that it has never seen.`);
      print(paint(terminal, 'dim', `${on}, loaded in ${seconds(load)}`));
    }
    const results: Result[] = [];
    let classify = 0;
    for (const drawing of drawings) {
      const image = await load_image(drawing.path);
      const from = performance.now();
      const found = await classifier(image, labels);
      classify += performance.now() - from;
      const truth = phraseOf.get(drawing.name) ?? drawing.name;
      const rank = 1 + found.findIndex(({ label }) => label === truth);
      results.push({ picture: drawing.file, truth, rank, right: rank === 1, labels: found.slice(0, SHOWN) });
      if (options.json) continue;
      const verdict = rank === 1 ? paint(terminal, 'green', 'right') : paint(terminal, 'red', 'wrong');
      const lines = [`${paint(terminal, 'bold', truth)}: ${verdict}`, ...rows(found.slice(0, SHOWN), terminal)];
      print(`\n${await beside(image, lines, terminal)}`);
    }
    const right = results.filter((result) => result.right).length;
    const firstFive = results.filter(({ rank }) => rank >= 1 && rank <= 5).length;
    const time_ms = { load: Math.round(load), classify: Math.round(classify) };
    const score = { pictures: results.length, right, first_five: firstFive };
    if (options.json) printJson({ command: 'start', ...provenance(device, options), model: { path: model, model_type: classifier.model_type }, hypothesis_template: classifier.hypothesis_template, time_ms, score, results });
    else {
      const guess = ((100 * SHOWN) / labels.length).toFixed(1);
      print(`\n${right} of ${results.length} right, ${firstFive} among the first five (by chance: 0.5 % and ${guess} %)`);
      print(`${on}, classified in ${seconds(classify)}, labels included`);
    }
  });
}

type Result = {
  picture: string;
  truth: string;
  /** Place of the truth among the labels, from 1; 0: not among them. */
  rank: number;
  right: boolean;
  labels: { label: string; score: number }[];
};

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
