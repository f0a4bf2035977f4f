// tessera classify: which of some labels pictures show.
import process from 'node:process';
import type { Command } from 'commander';
import { UserError } from '../io/error.ts';
import { baseName } from '../io/source.ts';
import type { Classification } from '../tasks/zero-shot-image-classification.ts';
import { CLIP, clipOf, type Opened, rows, withClassifier } from './classifier.ts';
import { Pictures } from './files.ts';
import { count, type DeviceOptions, type HubOptions, withDevice, withHub } from './options.ts';
import { print, printJson } from './output.ts';
import { seconds } from './table.ts';
import { paint, terminalOf } from './terminal.ts';
import { visible } from './text.ts';
import { readConcepts } from './world.ts';

type Options = DeviceOptions & HubOptions & { labels?: string; model?: string; template?: string; top: number };

export function addClassify(program: Command): void {
  const command = program
    .command('classify')
    .description('Which of some labels do pictures show? (zero-shot, with any CLIP or SigLIP)')
    .argument('<pictures...>', 'PNG, JPEG or WebP files, or their addresses')
    .option(
      '--labels <list>',
      'labels, with commas between them (default with the shipped model: the 200 things it knows)',
    )
    .option(...CLIP)
    .option('--template <text>', "the sentence around a label, {} in its place (default: what the model's card says)")
    .option('--top <n>', 'how many labels to print for each picture', count, 5);
  withDevice(withHub(command))
    .addHelpText(
      'after',
      `
Examples:
  tessera classify photo.jpg --labels "a cat,a dog"
  tessera classify *.png --labels "a cat,a dog" --model ./clip-vit-base-patch32 --dtype f16
  tessera classify photo.jpg --labels "a cat,a dog" --model openai/clip-vit-large-patch14
  tessera classify photo.jpg --labels "night,day" --template "a photo taken at {}" --json`,
    )
    .action(classify);
}

async function classify(pictures: string[], options: Options): Promise<void> {
  const labels = await labelsOf(options);
  const given = new Pictures(pictures);
  const there = await given.there();
  const model = await clipOf(options.model);
  const work = async ({ classify, about, where, load }: Opened) => {
    const terminal = terminalOf(process.stdout, process.env);
    const hypothesis_template = options.template ?? classify.hypothesis_template;
    const start = performance.now();
    const results: { picture: string; labels: Classification[] }[] = [];
    await classify([], labels, { hypothesis_template }); // what is wrong with these is wrong with every picture
    for (const picture of there) {
      const found = await given.attempt(picture, classify(picture, labels, { hypothesis_template }));
      if (!found) continue;
      const best = found.slice(0, options.top);
      results.push({ picture, labels: best });
      if (!options.json) print([paint(terminal, 'bold', visible(picture)), ...rows(best, terminal)].join('\n'));
    }
    const time = performance.now() - start;
    if (options.json) {
      const time_ms = { load: Math.round(load), classify: Math.round(time) };
      printJson({ command: 'classify', ...about, hypothesis_template, time_ms, results, failed: given.failed });
    } else if (terminal.colour) {
      const times = `loaded in ${seconds(load)}, classified in ${seconds(time)}`;
      print(paint(terminal, 'dim', `${visible(baseName(model))} on ${where}, ${times}`));
    }
  };
  if (there.length > 0) await withClassifier(model, options, work);
  given.end('classify');
}

async function labelsOf({ labels, model }: Options): Promise<string[]> {
  if (labels === undefined && model === undefined) return (await readConcepts()).map(({ phrase }) => phrase);
  const list = [...new Set((labels ?? '').split(',').map((label) => label.trim()))].filter((label) => label !== '');
  if (list.length === 0) throw new UserError('[classify] no labels: want some, such as --labels "a cat,a dog"');
  return list;
}
