// `pipeline(task, model, options)`, the way into every task, as in transformers and transformers.js.
import { UserError } from '../io/error.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import type { ModelSource } from './auto.ts';
import { shipped } from './shipped.ts';
import { type ZeroShotImageClassifier, zeroShotImageClassification } from './zero-shot-image-classification.ts';

/** Tasks, with the model in weights/ that each uses when none is named. */
const TASKS = {
  'zero-shot-image-classification': { open: zeroShotImageClassification, model: 'tessera-clip' },
};
export type Task = keyof typeof TASKS;

/**
 * A ready task: `const classify = await pipeline('zero-shot-image-classification', folder)`. Without a model it takes the
 * small one that ships with the package (Node, Deno, Bun). Throws a UserError for an unknown task or an unfit model.
 */
export async function pipeline(
  task: Task,
  model?: ModelSource | null,
  options: FromPretrained = {},
): Promise<ZeroShotImageClassifier> {
  if (!Object.hasOwn(TASKS, task)) {
    throw new UserError(
      `[pipeline] unknown task: got ${JSON.stringify(task)}, want one of ${Object.keys(TASKS).join(', ')}`,
    );
  }
  const { open, model: standard } = TASKS[task];
  return open(model ?? (await shipped(standard)), options);
}
