// The models of the matrix, with random weights: what each is called with, and how ours answers. Peers are compared with ours.
import { estimate } from '../src/exec/estimate.ts';
import { type Config, type FromPretrained, pretrained } from '../src/io/pretrained.ts';
import type { Folder } from '../src/io/source.ts';
import { AutoencoderKL } from '../src/models/autoencoder-kl.ts';
import { CLIPTextModelWithProjection, CLIPVisionModelWithProjection } from '../src/models/clip.ts';
import { LlamaForCausalLM } from '../src/models/llama.ts';
import { UNet2DConditionModel } from '../src/models/unet-2d-condition.ts';
import { KVCache } from '../src/nn/kv-cache.ts';
import { resnetBlock } from '../src/nn/resnet.ts';
import { transformer2d } from '../src/nn/transformer-2d.ts';
import { capacityFor } from '../src/tasks/decoder.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import unet from '../weights/tessera-diffusion/unet/config.json' with { type: 'json' };
import vae from '../weights/tessera-diffusion/vae/config.json' with { type: 'json' };
import type { Input } from './data.ts';
import type { Kernel } from './kernels.ts';

export type Shapes = ReadonlyMap<string, readonly number[]>;
// biome-ignore lint/suspicious/noExplicitAny: each model has its own methods
type Any = any;
type Class = {
  from_config(config: Config): { named_parameters(): ReadonlyMap<string, Tensor> };
  from_pretrained(from: Folder, options: FromPretrained): Promise<{ dispose(): void }>;
};

export type Model = Kernel & {
  of: Class;
  config: Config;
  weights: Shapes;
  /** What our function takes: the inputs, some of them in a larger tensor. */
  takes: readonly (readonly number[])[];
  /** The result, and then what is kept for a next call. */
  forward(model: Any, ...x: Tensor[]): [Tensor, ...Tensor[]];
};

const size = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);

/** The tensors of a model with a config, without values. */
export function shapesOf(of: Pick<Class, 'from_config'>, config: Config): Shapes {
  return new Map([...of.from_config(config).named_parameters()].map(([name, { shape }]) => [name, shape]));
}

/** Weights that a case hardly reads: tables, of which some rows count, and what is not called. */
const UNREAD = /token_embedding|embed_tokens|lm_head|^encoder|^quant_conv/;

function model(
  of: Class,
  config: Config,
  inputs: Input[],
  forward: Model['forward'],
  takes: Model['takes'] = inputs.map(({ shape }) => shape),
): Model {
  const given = takes.map((shape, i) => new Tensor({ shape, dtype: inputs[i]?.texts ? 'i32' : 'f32' }));
  const results = forward(of.from_config(config), ...given);
  const output = [...results[0].shape];
  const weights = shapesOf(of, config);
  const read = [...weights].filter(([name]) => !UNREAD.test(name)).map(([, shape]) => shape);
  const all = [...read, ...inputs.map(({ shape }) => shape), output];
  const bytes = 4 * all.reduce((n, shape) => n + size(shape), 0);
  return { of, config, weights, inputs, output, takes, forward, bytes, flops: estimate(results).flops };
}

/** CLIP ViT-B/32. */
export const CLIP = { text: { L: 77, D: 512, heads: 8 }, image: { L: 50, D: 768, heads: 12 }, layers: 12 };

/** The blocks of the first level of Stable Diffusion 1.5; temb is the time as blocks are told it. */
export const LEVEL = { time: 1280, context: 768, tokens: 77, heads: 8, groups: 32 };

const UNetLevel = pretrained('UNetLevel', (w, { channels: C }) => {
  const { time, context, heads, groups } = LEVEL;
  const resnet = resnetBlock(w.at('resnet'), C, C, { groups, eps: 1e-5, temb_channels: time });
  const head = { heads, head_dim: C / heads, cross_attention_dim: context };
  const attention = transformer2d(w.at('attention'), C, { ...head, groups });
  return {
    forward: (x: Tensor, temb: Tensor, encoder_hidden_states: Tensor) =>
      attention(resnet(x, temb), { encoder_hidden_states }),
  };
});

const SD_VAE = { block_out_channels: [128, 256, 512, 512], layers_per_block: 2 };
const decode = (config: Config, h: number, w: number) =>
  model(AutoencoderKL, config, [{ shape: [1, 4, h, w] }], ({ decode }, z) => [decode(z)]);

// biome-ignore lint/suspicious/noExplicitAny: each takes its own number of sizes
export const MODELS: Record<string, (...dims: any[]) => Model> = {
  clip_text: (B: number) =>
    model(CLIPTextModelWithProjection, {}, [{ shape: [B, 77], texts: true }], ({ forward }, input_ids) => [
      forward({ input_ids }).text_embeds,
    ]),
  clip_image: (B: number) =>
    model(CLIPVisionModelWithProjection, {}, [{ shape: [B, 3, 224, 224] }], ({ forward }, pixel_values) => [
      forward({ pixel_values }).image_embeds,
    ]),
  /** The last L of S tokens through a layer and the norm behind it; the keys and values of those before are given. */
  llama_block: (L: number, S: number, D: number, F: number, heads: number, shared: number) => {
    const config = {
      ...{ hidden_size: D, intermediate_size: F, num_hidden_layers: 1, vocab_size: 8, rms_norm_eps: 1e-5 },
      ...{ num_attention_heads: heads, num_key_value_heads: shared },
    };
    const before: Input = { shape: [1, shared, S - L, D / heads], shared: true };
    const cache = [1, shared, capacityFor(S), D / heads];
    const forward: Model['forward'] = (llama, inputs_embeds, ...kv) => {
      const past_key_values = new KVCache(kv, S - L);
      const { last_hidden_state } = llama.forward({ inputs_embeds, past_key_values, logits_to_keep: 1 });
      return [last_hidden_state, ...past_key_values.tensors];
    };
    const inputs = [{ shape: [1, L, D] }, ...(S > L ? [before, before] : [])];
    return model(LlamaForCausalLM, config, inputs, forward, [[1, L, D], cache, cache]);
  },
  unet_level: (C: number, H: number, W: number) => {
    const { time, context, tokens } = LEVEL;
    const inputs = [
      [1, C, H, W],
      [1, time],
      [1, tokens, context],
    ].map((shape) => ({ shape }));
    return model(UNetLevel, { channels: C }, inputs, ({ forward }, ...x) => [
      forward(...(x as [Tensor, Tensor, Tensor])),
    ]);
  },
  /** tessera-diffusion at B pictures of h x w latents: 2 B where it is guided. */
  unet_step: (B: number, h: number, w: number) => {
    const { in_channels, block_out_channels, cross_attention_dim } = unet;
    const shapes = [
      [B, in_channels, h, w],
      [1, block_out_channels[0]!],
      [B, 77, cross_attention_dim],
    ];
    const inputs = shapes.map((shape) => ({ shape }));
    return model(UNet2DConditionModel, unet, inputs, ({ forward }, sample, timestep, encoder_hidden_states) => [
      forward({ sample, timestep, encoder_hidden_states }).sample,
    ]);
  },
  vae_decode: (h: number, w: number) => decode(vae, h, w),
  sd_vae_decode: (h: number, w: number) => decode(SD_VAE, h, w),
};
