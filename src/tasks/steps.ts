// Steps of a loop as functions of named tensors and numbers, recorded once and replayed.
import { type Compiled, compile } from '../exec/compile.ts';
import type { RunOptions } from '../exec/run.ts';
import { scalar } from '../ops/create.ts';
import type { Tensor } from '../tensor/tensor.ts';

export type Values = Record<string, Tensor>;
export type Arguments = Record<string, Tensor | number>;
type Step = Compiled<(Tensor | number)[], Values>;

/** As a step gets them when it is not replayed. */
export const asTensors = (args: Arguments): Values =>
  Object.fromEntries(Object.entries(args).map(([name, v]) => [name, typeof v === 'number' ? scalar(v) : v]));

/** The steps of models of one kind. */
export class Steps {
  readonly #of = new WeakMap<object, Map<string, Step>>();

  /** What `record` makes of the arguments: recorded once for each `kind` (data, all that it depends on) and set of names. */
  run(
    model: object,
    kind: unknown,
    args: Arguments,
    record: (a: Values) => Values,
    options?: Pick<RunOptions, 'signal'>,
  ): Promise<Values> {
    const names = Object.keys(args);
    const key = JSON.stringify([kind, names]);
    const steps = this.#of.get(model) ?? new Map<string, Step>();
    this.#of.set(model, steps);
    let step = steps.get(key);
    if (!step) {
      step = compile((...values: Tensor[]) => record(Object.fromEntries(names.map((name, i) => [name, values[i]!]))));
      steps.set(key, step);
    }
    return step.run(Object.values(args), options);
  }

  /** Drops what was recorded, and with it constants on a device that is lost. */
  forget(model: object): void {
    this.#of.delete(model);
  }
}
