// What the commands that run a model share: it is loaded on the device asked for, with a bar, and leaves nothing there.
import { lookUp, type ModelSource } from '../io/locate.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import { type Classes, identify } from '../tasks/auto.ts';
import { type DeviceOptions, type HubOptions, hubOf, onDevice, provenance } from './options.ts';
import { complain } from './output.ts';
import { loadingBar } from './progress.ts';

/** A task, ready to be called. */
type Ready = { model: { name: string; unused: string[] }; model_type: string; [Symbol.dispose](): void };

export type Loaded<T> = {
  task: T;
  /** For --json: where it is computed, and by what. */
  about: Record<string, unknown>;
  /** The same in words. */
  where: string;
  /** Milliseconds to load. */
  load: number;
};

/** Runs `work` with what `open` gives; afterwards nothing of it is left on the device. */
export async function withLoaded<T extends Ready>(
  path: string,
  options: DeviceOptions & HubOptions,
  open: (from: ModelSource, options: FromPretrained) => Promise<T>,
  work: (loaded: Loaded<T>) => Promise<void>,
  check: Classes | ((from: ModelSource, options: FromPretrained) => Promise<unknown>) | undefined = undefined,
) {
  const { progress_callback, stop } = await loadingBar();
  const source = { ...hubOf(options), progress_callback };
  const { dtype } = options;
  try {
    const from = await lookUp(path, source);
    // mistakes come out before a GPU is asked for
    if (typeof check === 'function') await check(from, source);
    else await (check ? identify(from, source, check) : identify(from, source));
    await onDevice(options, async (device) => {
      const start = performance.now();
      using task = await open(from, { ...source, device, dtype });
      stop();
      const { name, software, runtime } = device.adapter;
      const { name: kind, unused } = task.model;
      if (unused.length > 0) complain(notUsed(unused, kind));
      const model = { path, model_type: task.model_type, unused };
      await work({
        task,
        about: { ...provenance(device, options), model },
        where: `${name}${software ? ' (software)' : ''} in ${runtime}, ${dtype}, exact`,
        load: performance.now() - start,
      });
    });
  } finally {
    stop();
  }
}

/** A hint that a checkpoint may be another than it looks. */
function notUsed(names: readonly string[], kind: string): string {
  const few = `${names.slice(0, 5).join(', ')}${names.length > 5 ? ', ...' : ''}`;
  const subject =
    names.length === 1 ? '1 tensor of the checkpoint is' : `${names.length} tensors of the checkpoint are`;
  return `${subject} not used by ${kind}: ${few}`;
}
