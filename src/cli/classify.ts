// tessera classify: which of some labels pictures show.
import process from 'node:process';
import type { Command } from 'commander';
import { UserError } from '../io/error.ts';
import { baseName } from '../io/source.ts';
import { identify } from '../tasks/auto.ts';
import { checkPath } from '../tasks/load-image.ts';
import { pipeline } from '../tasks/pipeline.ts';
import { shipped } from '../tasks/shipped.ts';
import type { Classification } from '../tasks/zero-shot-image-classification.ts';
import { count, type DeviceOptions, onDevice, print, printJson, provenance, withDevice } from './options.ts';
import { loadingBar } from './progress.ts';
import { bar, paint, percent, type Terminal, terminalOf } from './terminal.ts';
import { readConcepts } from './world.ts';

type Options = DeviceOptions & { labels?: string; model?: string; template?: string; top: number };

export function addClassify(program: Command): void {
  const command = program
    .command('classify')
    .description('Which of some labels do pictures show? (zero-shot, with any CLIP or SigLIP folder)')
    .argument('<pictures...>', 'PNG, JPEG or WebP files, or their addresses')
    .option('--labels <list>', 'labels, with commas between them (default with the shipped model: the 200 things it knows)')
    .option('--model <folder>', 'a CLIP or SigLIP folder with its tokenizer (default: the tessera-clip that ships)')
    .option('--template <text>', 'the sentence around a label, {} in its place (default: what the model\'s card says)')
    .option('--top <n>', 'how many labels to print for each picture', count, 5);
  withDevice(command)
    .addHelpText(
      'after',
      `
Examples:
  tessera classify photo.jpg --labels "a cat,a dog"
  tessera classify *.png --labels "a cat,a dog" --model ./clip-vit-base-patch32 --dtype f16
  tessera classify photo.jpg --labels "night,day" --template "a photo taken at {}" --json`,
    )
    .action(classify);
}

async function classify(pictures: string[], options: Options): Promise<void> {
  const labels = await labelsOf(options);
  for (const picture of pictures) await checkPath(picture);
  const model = options.model ?? (await shipped('tessera-clip'));
  await identify(model); // mistakes come out before a GPU is asked for
  const bars = await loadingBar();
  await onDevice(options, async (device) => {
    const start = performance.now();
    using classifier = await pipeline('zero-shot-image-classification', model, {
      device,
      dtype: options.dtype,
      progress_callback: bars.progress_callback,
    }).finally(bars.stop);
    const loaded = performance.now();
    const hypothesis_template = options.template ?? classifier.hypothesis_template;
    const results = await classifier(pictures, labels, { hypothesis_template });
    const time_ms = { load: Math.round(loaded - start), classify: Math.round(performance.now() - loaded) };
    if (options.json) {
      printJson({
        command: 'classify',
        ...provenance(device, options),
        model: { path: model, model_type: classifier.model_type },
        hypothesis_template,
        time_ms,
        results: results.map((of, i) => ({ picture: pictures[i], labels: of.slice(0, options.top) })),
      });
      return;
    }
    const terminal = terminalOf(process.stdout, process.env);
    for (const [i, of] of results.entries()) {
      print([paint(terminal, 'bold', pictures[i]!), ...rows(of.slice(0, options.top), terminal)].join('\n'));
    }
    const where = `${baseName(model)} on ${device.adapter.name}, ${options.dtype}`;
    if (terminal.colour) print(paint(terminal, 'dim', `${where}, loaded in ${time_ms.load} ms, classified in ${time_ms.classify} ms`));
  });
}

/** One line for each label: name, bar, percent. */
export function rows(of: readonly Classification[], terminal: Terminal): string[] {
  const width = Math.max(...of.map(({ label }) => label.length));
  return of.map(({ label, score }) => `  ${label.padEnd(width)}  ${paint(terminal, 'cyan', bar(score))} ${percent(score)}`);
}

async function labelsOf({ labels, model }: Options): Promise<string[]> {
  if (labels === undefined && model === undefined) return (await readConcepts()).map(({ phrase }) => phrase);
  const list = [...new Set((labels ?? '').split(',').map((label) => label.trim()))].filter((label) => label !== '');
  if (list.length === 0) throw new UserError('[classify] no labels: want some, such as --labels "a cat,a dog"');
  return list;
}
