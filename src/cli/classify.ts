// tessera classify: which of some labels pictures show.
import process from 'node:process';
import type { Command } from 'commander';
import { UserError } from '../io/error.ts';
import { baseName } from '../io/source.ts';
import { checkPath } from '../tasks/load-image.ts';
import { shipped } from '../tasks/shipped.ts';
import { rows, seconds, withClassifier } from './classifier.ts';
import { count, type DeviceOptions, type HubOptions, print, printJson, withDevice, withHub } from './options.ts';
import { paint, terminalOf } from './terminal.ts';
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
    .option(
      '--model <model>',
      'a CLIP or SigLIP folder, or its id on the Hugging Face hub (default: the tessera-clip that ships)',
    )
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
  for (const picture of pictures) await checkPath(picture);
  const model = options.model ?? (await shipped('tessera-clip'));
  await withClassifier(model, options, async ({ classify, about, where, load }) => {
    const start = performance.now();
    const hypothesis_template = options.template ?? classify.hypothesis_template;
    const results = await classify(pictures, labels, { hypothesis_template });
    const time = performance.now() - start;
    const best = results.map((of, i) => ({ picture: pictures[i]!, labels: of.slice(0, options.top) }));
    if (options.json) {
      const time_ms = { load: Math.round(load), classify: Math.round(time) };
      return printJson({ command: 'classify', ...about, hypothesis_template, time_ms, results: best });
    }
    const terminal = terminalOf(process.stdout, process.env);
    for (const { picture, labels } of best)
      print([paint(terminal, 'bold', picture), ...rows(labels, terminal)].join('\n'));
    const times = `loaded in ${seconds(load)}, classified in ${seconds(time)}`;
    if (terminal.colour) print(paint(terminal, 'dim', `${baseName(model)} on ${where}, ${times}`));
  });
}

async function labelsOf({ labels, model }: Options): Promise<string[]> {
  if (labels === undefined && model === undefined) return (await readConcepts()).map(({ phrase }) => phrase);
  const list = [...new Set((labels ?? '').split(',').map((label) => label.trim()))].filter((label) => label !== '');
  if (list.length === 0) throw new UserError('[classify] no labels: want some, such as --labels "a cat,a dog"');
  return list;
}
