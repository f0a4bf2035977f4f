// `pipeline(task, model, options)`, the way into every task, as in transformers and transformers.js.
import { UserError } from '../io/error.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import type { ModelSource } from './auto.ts';
import { imageFeatureExtraction } from './image-feature-extraction.ts';
import { shipped } from './shipped.ts';
import { zeroShotImageClassification } from './zero-shot-image-classification.ts';

/** Tasks, with the model in weights/ that each uses when none is named. */
const TASKS = {
  'image-feature-extraction': { open: imageFeatureExtraction, model: 'tessera-clip' },
  'zero-shot-image-classification': { open: zeroShotImageClassification, model: 'tessera-clip' },
};
export type Task = keyof typeof TASKS;
/** What `pipeline` gives for a task. */
type Ready<T extends Task> = Awaited<ReturnType<(typeof TASKS)[T]['open']>>;

/**
 * A ready task: `const classify = await pipeline('zero-shot-image-classification', folder)`. Without a model it takes the
 * small one that ships with the package (Node, Deno, Bun). Throws a UserError for an unknown task or an unfit model.
 */
export async function pipeline<T extends Task>(
  task: T,
  model?: ModelSource | null,
  options: FromPretrained = {},
): Promise<Ready<T>> {
  if (!Object.hasOwn(TASKS, task)) {
    throw new UserError(
      `[pipeline] unknown task: got ${JSON.stringify(task)}, want one of ${Object.keys(TASKS).join(', ')}`,
    );
  }
  const { open, model: standard } = TASKS[task];
  return open(model ?? (await shipped(standard)), options) as Promise<Ready<T>>;
}
