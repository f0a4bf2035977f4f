// What a model takes of a device, from its config.json alone.
import { estimate } from '../exec/estimate.ts';
import { sizeClass } from '../gpu/pool.ts';
import { explain, UserError } from '../io/error.ts';
import { parseObject } from '../io/json.ts';
import { locate, type SourceOptions } from '../io/locate.ts';
import type { Config } from '../io/pretrained.ts';
import { WEIGHT_TYPES, type WeightType } from '../io/weight-type.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type ModelSource, modelOf } from './auto.ts';

type Bytes = Record<WeightType, number>;
const each = <T>(make: (dtype: WeightType) => T) =>
  Object.fromEntries(WEIGHT_TYPES.map((dtype) => [dtype, make(dtype)])) as Record<WeightType, T>;
type Module = { name: string; parameters: number; bytes: Bytes };

export type MemoryPlan = {
  model_type: string;
  /** Shapes of what the model is called with. */
  inputs: Record<string, readonly number[]>;
  weights: { parameters: number; bytes: Bytes; modules: Module[] };
  /** Of one forward pass: inputs, intermediates and results; they are f32 whatever the weights are. */
  activations: { bytes: number; dispatches: number; flops: number };
  /** Weights and activations. */
  total_bytes: Bytes;
};

export type PlanOptions = SourceOptions & {
  batch_size?: number | undefined;
  /** How many parts of a name make a module. */
  depth?: number;
};

/** The plan of a model; no device is asked for and no weights are read. Throws a UserError without a config of a known model. */
export async function plan(from: ModelSource, options: PlanOptions = {}): Promise<MemoryPlan> {
  const { batch_size = 1, depth = 1 } = options;
  const { folder } = await locate(from, options);
  const text = await folder.text('config.json');
  if (text === undefined) throw new UserError(`[${folder.name}] no config.json: want the folder of a model`);
  const config = parseObject(text, 'config.json') as Config;
  const { model_type, from_config } = modelOf(config, folder.name);
  const model = from_config(config);
  const weights = model.named_parameters();
  const kept = each((dtype) => from_config(config, { dtype }).named_parameters());
  const bytes = (names: readonly string[]): Bytes =>
    each((dtype) => names.reduce((n, name) => n + sizeClass(kept[dtype].get(name)!.nbytes), 0));
  const parameters = (names: readonly string[]) => names.reduce((n, name) => n + weights.get(name)!.size, 0);
  const names = [...weights.keys()];
  const modules = new Map<string, string[]>();
  for (const name of names) {
    const module = name.split('.').slice(0, depth).join('.');
    modules.set(module, [...(modules.get(module) ?? []), name]);
  }
  const describe = ([name, list]: [string, string[]]) => ({ name, parameters: parameters(list), bytes: bytes(list) });

  const inputs: MemoryPlan['inputs'] = Object.fromEntries(
    Object.entries<readonly number[]>(model.dummy_inputs).map(([name, [, ...rest]]) => [name, [batch_size, ...rest]]),
  );
  const given = Object.entries(inputs).map(([name, shape]) => {
    return [name, new Tensor({ shape, dtype: name.endsWith('ids') ? 'i32' : 'f32' })] as const;
  });
  const results: unknown[] = await explain(folder.name, 'config.json describes no model', () =>
    Object.values(model.forward(Object.fromEntries(given) as never)),
  );
  const run = estimate(results.filter((t) => t instanceof Tensor));
  const activations = {
    bytes: given.reduce((n, [, t]) => n + sizeClass(t.nbytes), run.intermediate_bytes + run.output_bytes),
    dispatches: run.dispatches,
    flops: run.flops,
  };
  const all = bytes(names);
  return {
    model_type,
    inputs,
    weights: { parameters: parameters(names), bytes: all, modules: [...modules].map(describe) },
    activations,
    total_bytes: each((dtype) => all[dtype] + activations.bytes),
  };
}
