// What classify and start share: a classifier on the device asked for, and how its answers look.
import { pipeline } from '../tasks/pipeline.ts';
import { shipped } from '../tasks/shipped.ts';
import type { Classification, ZeroShotImageClassifier } from '../tasks/zero-shot-image-classification.ts';
import { type Loaded, withLoaded } from './loaded.ts';
import type { DeviceOptions, HubOptions } from './options.ts';
import { bar, paint, percent, type Terminal } from './terminal.ts';
import { pad, shorten, visible, widest } from './text.ts';

/** The option that names a CLIP or SigLIP, and the one that is meant. */
export const CLIP = [
  '--model <model>',
  'a CLIP or SigLIP folder, or its id on the Hugging Face hub (default: the tessera-clip that ships)',
] as const;
export const clipOf = async (model: string | undefined) => model ?? (await shipped('tessera-clip'));

export type Opened = Omit<Loaded<never>, 'task'> & { classify: ZeroShotImageClassifier };

/** Runs `work` with a classifier; afterwards nothing of it is left on the device. */
export const withClassifier = (
  path: string,
  options: DeviceOptions & HubOptions,
  work: (opened: Opened) => Promise<void>,
) =>
  withLoaded(
    path,
    options,
    (from, source) => pipeline('zero-shot-image-classification', from, source),
    ({ task: classify, ...more }) => work({ classify, ...more }),
  );

const LABEL = 60; // columns of a label; all of it is in the document of --json

/** One line for each label: name, bar, percent. */
export function rows(of: readonly Classification[], terminal: Terminal): string[] {
  const names = of.map(({ label }) => visible(shorten(label, LABEL)));
  const width = widest(names);
  const line = ({ score }: Classification, i: number) =>
    `  ${pad(names[i]!, width)}  ${paint(terminal, 'cyan', bar(score))} ${percent(score)}`;
  return of.map(line);
}
