// What classify and start share: a classifier on the device asked for, and how its answers look.
import { lookUp } from '../io/locate.ts';
import { identify } from '../tasks/auto.ts';
import { pipeline } from '../tasks/pipeline.ts';
import type { Classification, ZeroShotImageClassifier } from '../tasks/zero-shot-image-classification.ts';
import { type DeviceOptions, type HubOptions, hubOf, onDevice, provenance } from './options.ts';
import { loadingBar } from './progress.ts';
import { bar, paint, percent, type Terminal } from './terminal.ts';

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
      const model = { path, model_type: classify.model_type };
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
  const width = Math.max(...of.map(({ label }) => label.length));
  const line = ({ label, score }: Classification) =>
    `  ${label.padEnd(width)}  ${paint(terminal, 'cyan', bar(score))} ${percent(score)}`;
  return of.map(line);
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
