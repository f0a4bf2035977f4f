// `from_pretrained` for every model: opens a checkpoint, builds the model on its config, fills what it named.
import { defaultDevice, restorerOf } from '../exec/run.ts';
import { Device } from '../gpu/device.ts';
import { checkOptions } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { WithAdapters } from './adapters.ts';
import { type CheckpointOptions, openCheckpoint } from './checkpoint.ts';
import type { LoadOptions } from './download.ts';
import { UserError } from './error.ts';
import { viewCheckpoint } from './layouts/index.ts';
import { checkFit, loadAll } from './load.ts';
import { lookUp, type ModelSource } from './locate.ts';
import type { Tap } from './taps.ts';
import { checkModules, checkPacking, checkWeightTypes, type WeightTypes } from './weight-type.ts';
import { Weights } from './weights.ts';

export type FromPretrained = LoadOptions &
  CheckpointOptions & {
    /** The device to load on: a Device, a GPUDevice that exists, or by default the default device. */
    device?: Device | GPUDevice | undefined;
    /** How weights are kept; sums are f32 either way. */
    dtype?: WeightTypes | undefined;
    /** In the place of the checkpoint's config.json. */
    config?: Config | undefined;
  };

// biome-ignore lint/suspicious/noExplicitAny: a config is what its checkpoint says; each model states its own type
export type Config = Record<string, any>;

export type Pretrained<M> = M &
  WithAdapters & {
    /** The class that it was loaded as, such as CLIPModel. */
    name: string;
    config: Config;
    /** Where the weights are: after a loss the device that took its place. */
    readonly device: Device;
    /** Tensors of the checkpoint that the model has no use for. */
    unused: string[];
    /** The weights by the names that transformers has for them. */
    named_parameters(): ReadonlyMap<string, Tensor>;
    /**
     * Looks at a part of it: after `using tap = model.tap('model.layers.3.self_attn')` and a `forward`, `tap.output` and
     * `tap.attentions` are its tensors; compute them beside the results, `run([logits, tap.output])`. Of `forward` only:
     * generation replays what was recorded, with the bits that a forward over its tokens has.
     */
    tap(name: string): Tap;
    dispose(): void;
    [Symbol.dispose](): void;
  };

/** `CLIPModel = pretrained('CLIPModel', clip)`; `await CLIPModel.from_pretrained(folder or id)` is the model with its weights. */
export function pretrained<M extends object>(name: string, build: (w: Weights, config: Config) => M) {
  return {
    async from_pretrained(from: ModelSource, options: FromPretrained = {}): Promise<Pretrained<M>> {
      checkOptions(name, options, "{ dtype: 'f16' }");
      checkWeightTypes(options.dtype);
      const device = options.device !== undefined ? Device.from(options.device) : undefined;
      // looked up once: what is loaded again after a loss is the same, even if the hub has another by then
      return await load(name, build, await lookUp(from, options), { ...options, device });
    },
    /** The model of a config on weights with shapes and no values, as on torch's meta device: for what shapes alone tell. */
    from_config(config: Config, options: Pick<FromPretrained, 'dtype'> = {}) {
      checkOptions(name, config, '{ text_config: {} }', 'config');
      checkOptions(name, options, "{ dtype: 'f16' }");
      const { dtype = 'f32' } = options;
      checkWeightTypes(dtype);
      const weights = new Weights(null, dtype);
      const model = built(name, () => build(weights, config));
      return Object.assign(model, { config, named_parameters: () => weights.requests.wanted });
    },
  };
}

/** A tower alone, from a checkpoint of its own or from one with several: there it has `NAME_model` and `NAME_config`. */
export function tower<M>(name: string, build: (w: Weights, ...configs: unknown[]) => M) {
  return (w: Weights, config: Config): M => {
    const own = config[`${name}_config`];
    return own ? build(w.at(`${name}_model`), own, config[`${name}_config_dict`]) : build(w, config);
  };
}

async function load<M extends object>(
  name: string,
  build: (w: Weights, config: Config) => M,
  from: ModelSource,
  options: FromPretrained & { device: Device | undefined },
): Promise<Pretrained<M>> {
  const { dtype = 'f32' } = options;
  const checkpoint = await openCheckpoint(from, options);
  try {
    checkPacking(checkpoint);
    const view = await viewCheckpoint(checkpoint, options.part);
    const config = options.config ?? view.config;
    if (!config) throw new UserError(`[${name}] ${checkpoint.name} has no config.json: want it beside the weights`);
    const weights = new Weights(view.views, dtype);
    const model = built(checkpoint.name, () => build(weights, config));
    checkModules(dtype, weights.requests.wanted.keys());
    const known = { ...view, unexpected: [...view.unexpected, ...checkpoint.unexpected] };
    const kind =
      typeof config.model_type === 'string' ? `model_type ${config.model_type}, loaded as ${name}` : undefined;
    const unused = checkFit(checkpoint.name, weights.requests, known, kind);
    let device = options.device ?? (await defaultDevice());
    const restore = together(async () => {
      device = await device.heir();
      const again = await openCheckpoint(from, options);
      try {
        const { views } = await viewCheckpoint(again, options.part);
        const all = [...weights.requests.wanted];
        const wanted = new Map(all.filter(([, t]) => restorerOf(t) === restore && !t.storage?.disposed));
        await loadAll(again, { ...weights.requests, wanted }, views, device, {
          ...options,
          signal: undefined,
          restore,
        });
      } finally {
        await again.close();
      }
    });
    await loadAll(checkpoint, weights.requests, view.views, device, { ...options, restore });
    const named_parameters = () => weights.requests.wanted;
    const dispose = () => {
      for (const t of weights.requests.wanted.values()) t.dispose();
      weights.adapters.dispose();
    };
    const adapters = weights.adapters.methods(name, () => device, restore);
    const more = { name, config, unused, ...adapters, tap: weights.taps.tap, named_parameters, dispose };
    const disposable = { [Symbol.dispose]: dispose };
    return Object.defineProperty(Object.assign(model, more, disposable), 'device', {
      get: () => device,
    }) as Pretrained<M>;
  } finally {
    await checkpoint.close();
  }
}

/** Calls that come while one is at work wait for that one. */
function together(work: () => Promise<void>): () => Promise<void> {
  let at: Promise<void> | undefined;
  return () => {
    at ??= work().finally(() => {
      at = undefined;
    });
    return at;
  };
}

/** What a config makes impossible is the user's to know. */
function built<M>(where: string, build: () => M): M {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UserError(`[${where}] config.json describes no model: ${error.message}`);
  }
}
