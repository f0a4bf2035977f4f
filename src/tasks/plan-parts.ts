// What is planned: a model and its passes, or the models of a diffusers pipeline, each with what a picture takes of it.
import { UserError } from '../io/error.ts';
import { parseObject } from '../io/json.ts';
import { isOriginalLlava } from '../io/layouts/llava.ts';
import type { Config } from '../io/pretrained.ts';
import type { Folder } from '../io/source.ts';
import { AutoencoderKL } from '../models/autoencoder-kl.ts';
import { CLIPTextModel } from '../models/clip.ts';
import { UNet2DConditionModel } from '../models/unet-2d-condition.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { modelOf } from './auto.ts';

export type Shapes = Record<string, readonly number[]>;
/** One run of a model: `results` of inputs that have shapes and no values. */
export type Pass = { inputs: Shapes; results(given: Record<string, Tensor>): unknown[] };

export type PlanSizes = {
  /** Texts or pictures at once. */
  batch_size?: number | undefined;
  /** Of the pictures of a diffusers pipeline; by default those that its U-Net was trained on. */
  height?: number | undefined;
  width?: number | undefined;
};

// biome-ignore lint/suspicious/noExplicitAny: each model has its own inputs
type Model = Record<string, any>;
type Class = {
  from_config(config: Config, options?: object): Model & { named_parameters(): ReadonlyMap<string, Tensor> };
};
/** One model, and what is computed with it. */
export type Part = { name: string; config: Config; of: Class; pass(model: Model): Pass };

const INDEX = 'model_index.json';

async function json(folder: Folder, file: string, want: string): Promise<Config> {
  const text = await folder.text(file);
  if (text === undefined) throw new UserError(`[${folder.name}] no ${file}: want ${want}`);
  return parseObject(text, file);
}

/** The parts of a folder, and what it is. */
export async function partsOf(folder: Folder, sizes: PlanSizes): Promise<{ kind: string; parts: Part[] }> {
  const index = await folder.text(INDEX);
  if (index !== undefined) return diffusion(folder, parseObject(index, INDEX), sizes);
  const config = await json(folder, 'config.json', 'the folder of a model');
  if (isOriginalLlava(config)) {
    const got = 'a LLaVA of the original repository, whose config has no sizes of its tower';
    throw new UserError(`[${folder.name}] got ${got}, want one that transformers saved`);
  }
  const { model_type, ...of } = modelOf(config, folder.name);
  const { batch_size = 1, height, width } = sizes;
  if (height ?? width) throw new UserError(`[${folder.name}] height and width are for diffusers pipelines`);
  const pass = (model: Model): Pass => {
    const dummy = Object.entries<readonly number[]>(model.dummy_inputs);
    const inputs = Object.fromEntries(dummy.map(([name, [, ...rest]]) => [name, [batch_size, ...rest]]));
    return { inputs, results: (given) => Object.values(model.forward(given)) };
  };
  return { kind: model_type, parts: [{ name: '', config, of: of as Class, pass }] };
}

/** The classes of a pipeline's parts that are here. */
const CLASSES = { text_encoder: CLIPTextModel, unet: UNet2DConditionModel, vae: AutoencoderKL };
const NAMES = { text_encoder: 'CLIPTextModel', unet: 'UNet2DConditionModel', vae: 'AutoencoderKL' };
const SMALLEST = 8; // sides are multiples of it, whatever the autoencoder

/** Of pictures from words, guided: prompts with their negatives, a step for both, and one picture of latents. */
async function diffusion(folder: Folder, index: Config, sizes: PlanSizes): Promise<{ kind: string; parts: Part[] }> {
  const part = async (name: keyof typeof CLASSES, pass: (model: Model, config: Config) => Pass): Promise<Part> => {
    const got: unknown = [index[name]].flat().at(-1);
    if (got !== NAMES[name]) {
      const what = `${INDEX}, ${name}: got ${JSON.stringify(got) ?? 'nothing'}`;
      throw new UserError(`[${folder.name}] ${what}, want ${NAMES[name]}`);
    }
    const config = await json(folder.at(name), 'config.json', `it in the folder ${name}`);
    return { name, config, of: CLASSES[name] as unknown as Class, pass: (model) => pass(model, config) };
  };
  const { batch_size: B = 1, height, width } = sizes;
  let latent: number[] = []; // [h, w]
  const text = await part('text_encoder', (model) => ({
    inputs: { input_ids: [2 * B, model.dummy_inputs.input_ids[1]] },
    results: (given) => [model.forward(given).last_hidden_state],
  }));
  const unet = await part('unet', (model) => {
    const { sample, encoder_hidden_states: context } = model.dummy_inputs;
    const inputs = {
      sample: [2 * B, sample[1], ...latent],
      encoder_hidden_states: [2 * B, ...context.slice(1)],
    };
    const timestep = model.time_proj([0]);
    return { inputs, results: (given) => [model.forward({ ...given, timestep }).sample] };
  });
  const vae = await part('vae', (model, { latent_channels = 4 }) => ({
    inputs: { latents: [1, latent_channels, ...latent] },
    results: ({ latents }) => [model.decode(latents!)],
  }));
  const levels = (vae.config.block_out_channels as unknown[] | undefined)?.length ?? 1;
  const factor = 2 ** (levels - 1);
  const own = [unet.config.sample_size ?? 64].flat() as number[];
  latent = [height ?? own[0]! * factor, width ?? own.at(-1)! * factor].map((side) => {
    const step = Math.max(SMALLEST, factor);
    if (Number.isInteger(side) && side > 0 && side % step === 0) return side / factor;
    const nearest = Math.max(1, Math.round(side / step)) * step;
    throw new UserError(`[plan] size: got ${side}, want a multiple of ${step}: ${nearest} is the nearest`);
  });
  return {
    kind: typeof index._class_name === 'string' ? index._class_name : 'a diffusers pipeline',
    parts: [text, unet, vae],
  };
}
