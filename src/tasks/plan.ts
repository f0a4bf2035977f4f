// What a model, or a pipeline of several, takes of a device, from its configs alone.
import { estimate, sharedBytes } from '../exec/estimate.ts';
import { sizeClass } from '../gpu/pool.ts';
import { explain } from '../io/error.ts';
import { locate, type ModelSource, type SourceOptions } from '../io/locate.ts';
import { WEIGHT_TYPES, type WeightType } from '../io/weight-type.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type Part, type PlanSizes, partsOf, type Shapes } from './plan-parts.ts';

type Bytes = Record<WeightType, number>;
const each = <T>(make: (dtype: WeightType) => T) =>
  Object.fromEntries(WEIGHT_TYPES.map((dtype) => [dtype, make(dtype)])) as Record<WeightType, T>;
const total = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
type Module = { name: string; parameters: number; bytes: Bytes };
type Work = { bytes: number; dispatches: number; flops: number };

export type MemoryPlan = {
  /** Its `model_type`, or the class of the pipeline. */
  model_type: string;
  weights: { parameters: number; bytes: Bytes; modules: Module[] };
  /**
   * What each model (`name`, empty if there is one) is called with, and what that takes: inputs, intermediates and results,
   * which are f32 whatever the weights are.
   */
  passes: ({ name: string; inputs: Shapes } & Work)[];
  /** Of all passes one after the other: their intermediates share memory. */
  activations: Work;
  /** Weights and activations. */
  total_bytes: Bytes;
};

export type PlanOptions = SourceOptions &
  PlanSizes & {
    /** How many parts of a name make a module. */
    depth?: number;
  };

/**
 * The plan of a model, or of a folder of diffusers; no device is asked for and no weights are read. Throws a UserError
 * without configs of known models.
 */
export async function plan(from: ModelSource, options: PlanOptions = {}): Promise<MemoryPlan> {
  const { folder } = await locate(from, options);
  const { kind, parts } = await partsOf(folder, options);
  const planned = await Promise.all(parts.map((part) => planPart(part, folder.name)));
  const weights = planned.flatMap((part) => part.weights);
  const passes = planned.map((part) => part.pass);
  const modules = new Map<string, typeof weights>();
  for (const weight of weights) {
    const module = weight.name
      .split('.')
      .slice(0, options.depth ?? 1)
      .join('.');
    modules.set(module, [...(modules.get(module) ?? []), weight]);
  }
  const sum = (list: typeof weights) => ({
    parameters: total(list.map(({ parameters }) => parameters)),
    bytes: each((dtype) => total(list.map(({ bytes }) => bytes[dtype]))),
  });
  const all = sum(weights);
  const activations = {
    bytes: sharedBytes(passes.map(({ run }) => run)) + total(passes.map(({ outside }) => outside)),
    dispatches: total(passes.map(({ run }) => run.dispatches)),
    flops: total(passes.map(({ run }) => run.flops)),
  };
  return {
    model_type: kind,
    weights: { ...all, modules: [...modules].map(([name, list]) => ({ name, ...sum(list) })) },
    passes: passes.map(({ name, inputs, run, outside }) => ({
      ...{ name, inputs, bytes: run.intermediate_bytes + outside },
      ...{ dispatches: run.dispatches, flops: run.flops },
    })),
    activations,
    total_bytes: each((dtype) => all.bytes[dtype] + activations.bytes),
  };
}

/** The weights of a part, and its pass; `outside`: bytes of inputs and results. */
async function planPart({ name, config, of, pass }: Part, where: string) {
  const path = (below: string) => (name === '' ? below : `${name}.${below}`);
  const model = of.from_config(config);
  const kept = each((dtype) => of.from_config(config, { dtype }).named_parameters());
  const weights = [...model.named_parameters()].map(([weight, { size: parameters }]) => ({
    ...{ name: path(weight), parameters },
    bytes: each((dtype) => sizeClass(kept[dtype].get(weight)!.nbytes)),
  }));
  return explain(where, `${path('config.json')} describes no model that runs at this size`, () => {
    const { inputs, results } = pass(model);
    const given = Object.entries(inputs).map(([input, shape]) => {
      return [input, new Tensor({ shape, dtype: input.endsWith('ids') ? 'i32' : 'f32' })] as const;
    });
    const run = estimate(results(Object.fromEntries(given)).filter((t) => t instanceof Tensor));
    const outside = total(given.map(([, t]) => sizeClass(t.nbytes))) + run.output_bytes;
    return { weights, pass: { name, inputs, run, outside } };
  });
}
