// Output projectors trained through a frozen U-Net, or towards a frozen text encoder.
import {
  CLIPTextModel,
  grad,
  l2_loss,
  mse_loss,
  noise_loss,
  OutputProjector,
  type Tensor,
  UNet2DConditionModel,
} from '../../src/index.ts';
import { readHeader } from '../../src/io/safetensors.ts';
import { fromBytes } from '../../src/io/source.ts';
import { schedulerOf } from '../../src/tasks/schedulers/index.ts';
import { type Family, family, method, type Outputs } from './family.ts';
import type { CaseFiles } from './files.ts';
import { isAdamW, train } from './train.ts';

type Frozen = {
  files: CaseFiles;
  unet: Awaited<ReturnType<typeof UNet2DConditionModel.from_pretrained>>;
  text_encoder: Awaited<ReturnType<typeof CLIPTextModel.from_pretrained>>;
} & Disposable;
type Projector = Awaited<ReturnType<typeof OutputProjector.from_pretrained>>;
type Args = Record<string, unknown>;
type Inputs = Record<'states' | 'embeddings' | 'input_ids' | 'latents' | 'noise' | 'timesteps', Tensor>;

/** Sizes from the shapes of the file; four heads, as the case says of nn.Transformer. */
async function load(files: CaseFiles, projector_type: string, file: string): Promise<Projector> {
  const { tensors } = await readHeader(fromBytes((await files.read(file))!, file));
  const size = (name: string, dim: number) => tensors.get(name)!.shape[dim]!;
  const layers = (side: string) =>
    [...tensors.keys()].filter((name) => new RegExp(`^tfm\\.${side}\\.layers\\.\\d+\\.norm1\\.weight$`).test(name))
      .length;
  const config =
    projector_type === 'linear'
      ? { projector_type, in_features: size('proj.weight', 1), out_features: size('proj.weight', 0) }
      : {
          ...{ projector_type, nhead: 4, in_features: size('fc.weight', 1), out_features: size('model.weight', 0) },
          ...{ num_queries: size('query_embs', 1), d_model: size('fc.weight', 0) },
          ...{ num_encoder_layers: layers('encoder'), num_decoder_layers: layers('decoder') },
          dim_feedforward: size('tfm.encoder.layers.0.linear1.weight', 0),
        };
  return OutputProjector.from_pretrained(await files.checkpoint(), { file, config });
}

type Made = { H: Tensor; target: Tensor; predict(): Promise<Tensor>; noise: Tensor; snr: number[] };
/** Losses by the words of the case. */
const LOSSES: Record<string, (m: Made) => Tensor | Promise<Tensor>> = {
  'mean((H - text_encoder(input_ids).last_hidden_state)^2)': ({ H, target }) => mse_loss(H, target),
  'mean over tokens of sqrt(sum_d (H - target)^2) (what GILL and NExT-GPT call mse)': ({ H, target }) =>
    l2_loss(H, target),
  'mean((unet(add_noise(latents, noise, timesteps), timesteps, H) - noise)^2)': async ({ predict, noise }) =>
    noise_loss(await predict(), noise),
  'mean_b(w_b * mean((eps_pred - noise)^2)_b), w = min(snr, 5) / snr, snr = alphas_cumprod[t] / (1 - alphas_cumprod[t])':
    async ({ predict, noise, snr }) => noise_loss(await predict(), noise, { snr, gamma: 5 }),
  'align + noise': async ({ H, target, predict, noise }) => mse_loss(H, target).add(noise_loss(await predict(), noise)),
};

async function lossOf(model: Frozen, projector: Projector, inputs: Inputs, args: Args) {
  const { latents, noise } = inputs;
  const scheduler = schedulerOf({ ...(args.scheduler_config as object), _class_name: args.scheduler });
  const timesteps = [...(await inputs.timesteps.data())];
  const { H } = projector.forward(inputs);
  const target = model.text_encoder.forward({ input_ids: inputs.input_ids }).last_hidden_state;
  const alphas = timesteps.map((t) => scheduler.alphas_cumprod[t]!);
  const sample = scheduler.add_noise(latents, noise, timesteps);
  const predict = async () => model.unet.forward({ sample, timestep: timesteps, encoder_hidden_states: H }).sample;
  const loss = await LOSSES[args.loss as string]!({ H, target, predict, noise, snr: alphas.map((a) => a / (1 - a)) });
  return { H, target, loss };
}

const isText = (value: unknown) => typeof value === 'string';
const known = {
  ...{ projector: (v: unknown) => v === 'linear' || v === 'transformer', weights: isText, captions: Array.isArray },
  ...{ scheduler: isText, scheduler_config: (v: unknown) => typeof v === 'object', modules: Array.isArray },
  loss: (v: unknown) => Object.hasOwn(LOSSES, v as string),
  note: isText,
};
const inputs = ['states', 'embeddings', 'input_ids', 'latents', 'noise', 'timesteps'] as const;

export const projector: Record<string, Family> = {
  projector: family(
    async (files): Promise<Frozen> => {
      const unet = await UNet2DConditionModel.from_pretrained(await files.checkpoint('unet'));
      const text_encoder = await CLIPTextModel.from_pretrained(await files.checkpoint('text_encoder'));
      const dispose = () => {
        for (const model of [unet, text_encoder]) model.dispose();
      };
      return { files, unet, text_encoder, [Symbol.dispose]: dispose };
    },
    {
      'loss+backward': method({
        inputs,
        args: known,
        async run(model: Frozen, given, args, wanted): Promise<Outputs> {
          const own = await load(model.files, args.projector as string, args.weights as string);
          const { H, target, loss } = await lossOf(model, own, given, args);
          const names = wanted.filter((name) => name.startsWith('grad.')).map((name) => name.slice(5));
          const params = names.map((name) => own.named_parameters().get(name)!);
          const gradients = grad(loss, params);
          return { H, target, loss, ...Object.fromEntries(names.map((name, i) => [`grad.${name}`, gradients[i]])) };
        },
      }),
      '3 AdamW steps': method({
        inputs,
        args: { ...known, ...isAdamW },
        async run(model: Frozen, given, args, wanted): Promise<Outputs> {
          using own = await load(model.files, args.projector as string, args.weights as string);
          const { steps, lr, betas, eps, weight_decay } = args;
          const after = wanted.map((name) => name.replace(/^param\./, 'after/'));
          const loss = async () => (await lossOf(model, own, given, args)).loss;
          const found = await train(own, loss, { steps, lr, betas, eps, weight_decay }, after);
          return Object.fromEntries(Object.entries(found).map(([name, t]) => [name.replace(/^after\//, 'param.'), t]));
        },
      }),
    },
  ),
};
