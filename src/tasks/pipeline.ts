// `pipeline(task, model, options)`, the way into every task, as in transformers and transformers.js.
import { runtime } from '../gpu/host.ts';
import { UserError } from '../io/error.ts';
import { checkOptions, describe } from '../tensor/check.ts';
import type { ModelSource } from './auto.ts';
import { imageFeatureExtraction } from './image-feature-extraction.ts';
import { imageTextToText } from './image-text-to-text.ts';
import type { InWorker, ModelInWorker } from './remote.ts';
import type { Scheduler } from './schedulers/index.ts';
import { shipped } from './shipped.ts';
import { StableDiffusionPipeline } from './stable-diffusion/pipelines.ts';
import { textGeneration } from './text-generation.ts';
import type { Method, PROPERTY } from './wire.ts';
import { type ZeroShotImageClassifier, zeroShotImageClassification } from './zero-shot-image-classification.ts';

/** Tasks, with the model in weights/ that each uses when none is named, if there is one. */
const TASKS = {
  'image-feature-extraction': { open: imageFeatureExtraction, model: 'tessera-clip' },
  'image-text-to-text': { open: imageTextToText, model: 'tessera-llava' },
  'text-generation': { open: textGeneration, model: undefined },
  'text-to-image': { open: StableDiffusionPipeline.from_pretrained, model: 'tessera-diffusion' },
  'zero-shot-image-classification': { open: zeroShotImageClassification, model: 'tessera-clip' },
};
export type Task = keyof typeof TASKS;
/** What `pipeline` gives for a task. */
type Ready<T extends Task> = Awaited<ReturnType<(typeof TASKS)[T]['open']>>;

/** The same, called in the page while it runs in a worker. */
type Remote<T extends Task> = T extends 'zero-shot-image-classification'
  ? ZeroShotImageClassifier<ModelInWorker>
  : ((...args: Parameters<Ready<T>>) => ReturnType<Ready<T>>) & { model: ModelInWorker } & Disposable & {
        dispose(): void;
      } & { [K in Extract<keyof Ready<T>, Method>]: Later<Ready<T>[K]> } & {
        [K in Extract<keyof Ready<T>, typeof PROPERTY>]: Scheduler;
      };
/** A function whose result comes later, if it did not anyway. */
type Later<F> = F extends (...args: infer A) => infer R
  ? (...args: A) => R extends AsyncGenerator ? R : Promise<Awaited<R>>
  : never;
type InPlace<T extends Task> = NonNullable<Parameters<(typeof TASKS)[T]['open']>[1]> & { worker?: false | undefined };
type Open = (from: ModelSource, options: object) => Promise<unknown>;

/**
 * A ready task: `const classify = await pipeline('zero-shot-image-classification', folder)`. Without a model it takes the
 * small one that ships with the package (Node, Deno, Bun). In a page, with `worker: true`, all of it runs in a Web Worker.
 * Throws a UserError for an unknown task or an unfit model.
 */
export async function pipeline<T extends Task>(
  task: T,
  model: ModelSource | null | undefined,
  options: InWorker & Omit<InPlace<T>, 'worker' | 'device'>,
): Promise<Remote<T>>;
export async function pipeline<T extends Task>(
  task: T,
  model?: ModelSource | null,
  options?: InPlace<T>,
): Promise<Ready<T>>;
export async function pipeline<T extends Task>(
  task: T,
  model?: ModelSource | null,
  options: InWorker | InPlace<T> = {},
): Promise<Ready<T> | Remote<T>> {
  if (!Object.hasOwn(TASKS, task)) {
    throw new UserError(`[pipeline] unknown task: got ${describe(task)}, want one of ${Object.keys(TASKS).join(', ')}`);
  }
  checkOptions('pipeline', options, "{ dtype: 'f16' }");
  if (options.worker) {
    if (runtime !== 'browser') throw new UserError(`[pipeline] worker: got ${runtime}, want a page; leave it out here`);
    const { remote } = await import('./remote.ts');
    return remote(task, model, options) as Promise<unknown> as Promise<Remote<T>>;
  }
  const { open, model: standard } = TASKS[task];
  if (!model && !standard) throw new UserError(`[pipeline] ${task}: got no model, want a folder or an id of the hub`);
  return (open as Open)(model ?? (await shipped(standard!)), options) as Promise<Ready<T>>;
}
