// Training as the reference did it: some steps of AdamW on one batch.
import { assign } from '../../src/exec/run.ts';
import { AdamW, type AdamWOptions, grad, run, type Tensor } from '../../src/index.ts';
import type { Outputs } from './family.ts';

const isNumber = (value: unknown) => typeof value === 'number';

export const isAdamW: Record<string, (value: unknown) => boolean> = {
  optimizer: (value) => value === 'AdamW',
  betas: (value) => Array.isArray(value) && value.length === 2 && value.every(isNumber),
  ...Object.fromEntries(['lr', 'weight_decay', 'eps'].map((name) => [name, isNumber])),
  steps: (value) => Number.isInteger(value),
};

type Trained = { named_parameters(): ReadonlyMap<string, Tensor> };

/**
 * `losses` before each step and after the last, `grad/NAME` of the first, `after/NAME` and `delta/NAME`. Trained are the
 * parameters that the wanted outputs name; the model has its old values again in the end.
 */
export async function train(
  model: Trained,
  loss: () => Tensor | Promise<Tensor>,
  args: Record<string, unknown>,
  wanted: readonly string[],
): Promise<Outputs> {
  const { optimizer: _, steps, return_loss: __, ...options } = args;
  const named = model.named_parameters();
  const names = [...new Set(wanted.filter((name) => name.includes('/')).map((name) => name.replace(/^\w+\//, '')))];
  const params = names.map((name) => {
    const param = named.get(name);
    if (!param) throw new Error(`no parameter ${name} of the model`);
    return param;
  });
  const gradients = grad(await loss(), params);
  const before = params.map((param) => param.add(0));
  await run([...gradients, ...before]);
  const losses: number[] = [];
  using optimizer = new AdamW(params, options as AdamWOptions);
  for (let i = 0; i < (steps as number); i++) losses.push(await optimizer.step(await loss()));
  losses.push(await (await loss()).item());
  const outputs: Outputs = { losses: { shape: [losses.length], data: Float32Array.from(losses) } };
  for (const [i, name] of names.entries()) {
    const after = params[i]!.add(0);
    const delta = after.sub(before[i]!);
    await run([after, delta]);
    assign(params[i]!, before[i]!);
    Object.assign(outputs, { [`grad/${name}`]: gradients[i], [`after/${name}`]: after, [`delta/${name}`]: delta });
  }
  return outputs;
}
