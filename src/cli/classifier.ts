// What classify and start share: a classifier on the device asked for, and how its answers look.
import { lookUp } from '../io/locate.ts';
import { identify } from '../tasks/auto.ts';
import { pipeline } from '../tasks/pipeline.ts';
import type { Classification, ZeroShotImageClassifier } from '../tasks/zero-shot-image-classification.ts';
import { type DeviceOptions, type HubOptions, hubOf, onDevice, provenance } from './options.ts';
import { complain } from './output.ts';
import { loadingBar } from './progress.ts';
import { bar, paint, percent, type Terminal } from './terminal.ts';
import { pad, visible, widest } from './text.ts';

export type Opened = {
  classify: ZeroShotImageClassifier;
  /** For --json: where it is computed, and by what. */
  about: Record<string, unknown>;
  /** The same in words. */
  where: string;
  /** Milliseconds to load. */
  load: number;
};

/** Runs `work` with a classifier; afterwards nothing of it is left on the device. */
export async function withClassifier(
  path: string,
  options: DeviceOptions & HubOptions,
  work: (opened: Opened) => Promise<void>,
) {
  const { progress_callback, stop } = await loadingBar();
  const source = { ...hubOf(options), progress_callback };
  const { dtype } = options;
  try {
    const from = await lookUp(path, source);
    await identify(from, source); // mistakes come out before a GPU is asked for
    await onDevice(options, async (device) => {
      const start = performance.now();
      using classify = await pipeline('zero-shot-image-classification', from, { ...source, device, dtype });
      stop();
      const { name, software, runtime } = device.adapter;
      const { name: kind, unused } = classify.model;
      if (unused.length > 0) complain(notUsed(unused, kind));
      const model = { path, model_type: classify.model_type, unused };
      await work({
        classify,
        about: { ...provenance(device, options), model },
        where: `${name}${software ? ' (software)' : ''} in ${runtime}, ${dtype}, exact`,
        load: performance.now() - start,
      });
    });
  } finally {
    stop();
  }
}

/** One line for each label: name, bar, percent. */
export function rows(of: readonly Classification[], terminal: Terminal): string[] {
  const names = of.map(({ label }) => visible(label));
  const width = widest(names);
  const line = ({ score }: Classification, i: number) =>
    `  ${pad(names[i]!, width)}  ${paint(terminal, 'cyan', bar(score))} ${percent(score)}`;
  return of.map(line);
}

/** A hint that a checkpoint may be another than it looks. */
function notUsed(names: readonly string[], kind: string): string {
  const few = `${names.slice(0, 5).join(', ')}${names.length > 5 ? ', ...' : ''}`;
  const subject =
    names.length === 1 ? '1 tensor of the checkpoint is' : `${names.length} tensors of the checkpoint are`;
  return `${subject} not used by ${kind}: ${few}`;
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
