// The U-Net of Stable Diffusion, Rombach et al. 2022, arXiv:2112.10752. Reference: diffusers UNet2DConditionModel.
// B = batch, L = tokens of the context, T = time_embed_dim.
import { perLevel, settings, sizes } from '../io/config.ts';
import { UserError } from '../io/error.ts';
import { type Config, pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { activation } from '../nn/activation.ts';
import { keyMask } from '../nn/embeddings.ts';
import { conv2d, embedding, groupNorm, type Layer, linear } from '../nn/layers.ts';
import { downsample2d, type ResnetConfig, resnetBlock, upsample2d } from '../nn/resnet.ts';
import { sinusoids, timestepEmbedding } from '../nn/timestep.ts';
import { type Context, type Transformer2dConfig, transformer2d } from '../nn/transformer-2d.ts';
import { concat } from '../ops/index.ts';
import { checkOptions, checkTensors } from '../tensor/check.ts';
import { Tensor } from '../tensor/tensor.ts';

/** What diffusers takes where a config is silent. */
const DEFAULTS = {
  ...{ in_channels: 4, out_channels: 4, conv_in_kernel: 3, conv_out_kernel: 3, center_input_sample: false },
  ...{ flip_sin_to_cos: true, freq_shift: 0, act_fn: 'silu', norm_eps: 1e-5, resnet_time_scale_shift: 'default' },
  ...{ downsample_padding: 1, use_linear_projection: false, mid_block_scale_factor: 1 },
  ...{ time_embedding_dim: 0, time_cond_proj_dim: 0, time_embedding_act_fn: '', timestep_post_act: '' },
  ...{ class_embed_type: '', num_class_embeds: 0, projection_class_embeddings_input_dim: 0 },
  class_embeddings_concat: false,
};
const DOWN = ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'];
const UP = ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'];

/** Settings of other pipelines than those of this file, with the value that leaves them off. */
const OFF = {
  ...{ addition_embed_type: null, encoder_hid_dim: null, encoder_hid_dim_type: null, cross_attention_norm: null },
  ...{ dual_cross_attention: false, time_embedding_type: 'positional', attention_type: 'default' },
  num_attention_heads: null,
};

export type UNetInputs = {
  /** [B, in_channels, h, w]; any size. */
  sample: Tensor;
  /** One for all or one for each picture; or what `time_proj` made of them, so that a recorded function takes it. */
  timestep: number | readonly number[] | Tensor;
  /** [B, L, cross_attention_dim]; without it the second attention looks at the pixels too. */
  encoder_hidden_states?: Tensor | undefined;
  /** [B, L] of 1 and 0: which tokens of the context count. */
  encoder_attention_mask?: Tensor | undefined;
  /** [B, time_cond_proj_dim]: the guidance scale that an LCM is told, as sinusoids. */
  timestep_cond?: Tensor | undefined;
  /** Ids [B], or what the config's class_embed_type projects. */
  class_labels?: Tensor | undefined;
};

/** One resolution. */
type Level = {
  type: string;
  from: number;
  to: number;
  layers: number;
  resnet: ResnetConfig;
  transformer: Transformer2dConfig;
};

const transformers = (w: Weights, { to, layers, transformer }: Level) =>
  Array.from({ length: layers }, (_, i) => transformer2d(w.at('attentions').at(i), to, transformer));

/** All states behind each layer, the last in half the resolution. */
function downBlock(w: Weights, c: Level, padding: number | undefined) {
  const resnets = Array.from({ length: c.layers }, (_, i) =>
    resnetBlock(w.at('resnets').at(i), i === 0 ? c.from : c.to, c.to, c.resnet),
  );
  const attentions = attends(c.type, ['DownBlock2D', 'CrossAttnDownBlock2D']) ? transformers(w, c) : [];
  const down = padding === undefined ? undefined : downsample2d(w.at('downsamplers.0'), c.to, padding);
  return (x: Tensor, temb: Tensor, context: Context): Tensor[] => {
    const states: Tensor[] = [];
    for (const [i, resnet] of resnets.entries()) {
      x = resnet(x, temb);
      x = attentions[i]?.(x, context) ?? x;
      states.push(x);
    }
    return down ? [...states, down(x)] : states;
  };
}

/** Takes a state of the way down before each layer; the next resolution is that of the state which comes next. */
function upBlock(w: Weights, c: Level, skips: readonly number[], isLast: boolean) {
  const resnets = Array.from({ length: c.layers }, (_, i) =>
    resnetBlock(w.at('resnets').at(i), (i === 0 ? c.from : c.to) + skips[i]!, c.to, c.resnet),
  );
  const attentions = attends(c.type, ['UpBlock2D', 'CrossAttnUpBlock2D']) ? transformers(w, c) : [];
  const up = isLast ? undefined : upsample2d(w.at('upsamplers.0'), c.to);
  return (x: Tensor, states: Tensor[], temb: Tensor, context: Context): Tensor => {
    for (const [i, resnet] of resnets.entries()) {
      x = resnet(concat([x, states.pop()!], 1), temb);
      x = attentions[i]?.(x, context) ?? x;
    }
    return up ? up(x, states.at(-1)!.shape.slice(2)) : x;
  };
}

function midBlock(w: Weights, c: Level) {
  const without = 'UNetMidBlock2D';
  const resnet = (i: number) => resnetBlock(w.at('resnets').at(i), c.to, c.to, c.resnet);
  const first = resnet(0);
  const attentions = attends(c.type, [without, 'UNetMidBlock2DCrossAttn']) ? transformers(w, c) : [];
  const rest = attentions.map((attention, i) => ({ attention, resnet: resnet(i + 1) }));
  return (x: Tensor, temb: Tensor, context: Context): Tensor =>
    rest.reduce((h, { attention, resnet }) => resnet(attention(h, context), temb), first(x, temb));
}

/** Whether a block of this type has attention: of the known types the second. */
function attends(type: string, known: readonly [string, string]): boolean {
  if (!known.includes(type)) throw new UserError(`[config] block type: got ${type}, want ${known.join(' or ')}`);
  return type === known[1];
}

/** What class labels add to the time, [B, T]. */
function classEmbedding(
  w: Weights,
  c: typeof DEFAULTS,
  T: number,
  time_proj: (t: number[]) => Tensor,
): Layer | undefined {
  const { class_embed_type: type, num_class_embeds, projection_class_embeddings_input_dim: from } = c;
  if (type === '') return num_class_embeds ? embedding(w, num_class_embeds, T) : undefined;
  if (type === 'identity') return (labels) => labels;
  if (type === 'simple_projection') return linear(w, from, T);
  if (type === 'projection') return timestepEmbedding(w, from, T, c);
  if (type === 'timestep') return timestepEmbedding(w, time_proj([0]).shape[1]!, T, c);
  throw new UserError(
    `[config] class_embed_type: got ${type}, want timestep, identity, projection or simple_projection`,
  );
}

function unet2dCondition(w: Weights, config: Config) {
  const c = settings('config', DEFAULTS, config);
  for (const [name, off] of Object.entries(OFF)) {
    const got = config[name] ?? off;
    if (got !== off)
      throw new UserError(`[config] ${name}: got ${JSON.stringify(got)}, which no Stable Diffusion 1 or 2 has`);
  }
  const channels = sizes('block_out_channels', config.block_out_channels ?? [320, 640, 1280, 1280]);
  const levels = channels.length;
  const first = channels[0]!;
  const types = (name: string, otherwise: readonly string[]): readonly string[] => {
    const list = config[name] ?? otherwise;
    if (Array.isArray(list) && list.length === levels) return list;
    throw new UserError(`[config] ${name}: got ${JSON.stringify(list)}, want a list of ${levels}`);
  };
  const each = <T extends number | boolean>(name: string, otherwise: T) =>
    perLevel(name, config[name], levels, otherwise);
  const [down, up] = [types('down_block_types', DOWN), types('up_block_types', UP)];
  const heads = each('attention_head_dim', 8); // sic: their number
  const contexts = each('cross_attention_dim', 1280);
  const only = each('only_cross_attention', false);
  const depths = each('transformer_layers_per_block', 1);
  const layers = each('layers_per_block', 2);
  const groups = config.norm_num_groups === undefined ? 32 : config.norm_num_groups;

  const T = c.time_embedding_dim || 4 * first;
  const resnet: ResnetConfig = {
    ...{ groups, eps: c.norm_eps, act_fn: c.act_fn, temb_channels: c.class_embeddings_concat ? 2 * T : T },
    time_embedding_norm: c.resnet_time_scale_shift === 'scale_shift' ? 'scale_shift' : 'default',
  };
  if (!['default', 'scale_shift'].includes(c.resnet_time_scale_shift)) {
    throw new UserError(
      `[config] resnet_time_scale_shift: got ${c.resnet_time_scale_shift}, want default or scale_shift`,
    );
  }
  /** Level i, which `from` channels come to. */
  const level = (type: string, i: number, from: number): Level => ({
    ...{ type, from, to: channels[i]!, layers: layers[i]!, resnet },
    transformer: {
      ...{ heads: heads[i]!, head_dim: channels[i]! / heads[i]!, layers: depths[i]!, groups },
      ...{ cross_attention_dim: contexts[i]!, only_cross_attention: only[i]! },
      use_linear_projection: c.use_linear_projection,
    },
  });

  const kernel = (size: number) => ({ kernel_size: size, padding: (size - 1) >> 1 });
  const conv_in = conv2d(w.at('conv_in'), c.in_channels, first, kernel(c.conv_in_kernel));
  const time_proj = (timesteps: readonly number[]) =>
    sinusoids(timesteps, first, { flip_sin_to_cos: c.flip_sin_to_cos, downscale_freq_shift: c.freq_shift });
  const time_embedding = timestepEmbedding(w.at('time_embedding'), first, T, {
    ...{ act_fn: c.act_fn, cond_proj_dim: c.time_cond_proj_dim, post_act_fn: c.timestep_post_act },
  });
  const class_embedding = classEmbedding(w.at('class_embedding'), c, T, time_proj);
  const act = activation(c.act_fn);
  const embed_act = c.time_embedding_act_fn ? activation(c.time_embedding_act_fn) : (x: Tensor) => x;

  const widths = [first]; // of the states on the way down
  const down_blocks = down.map((type, i) => {
    const known = level(type, i, channels[Math.max(0, i - 1)]!);
    widths.push(...new Array(known.layers + (i < levels - 1 ? 1 : 0)).fill(known.to));
    return downBlock(w.at('down_blocks').at(i), known, i < levels - 1 ? c.downsample_padding : undefined);
  });
  const mid_type = config.mid_block_type === undefined ? 'UNetMidBlock2DCrossAttn' : config.mid_block_type;
  const mid = level(mid_type, levels - 1, channels.at(-1)!);
  const mid_block =
    mid_type === null
      ? (x: Tensor) => x
      : midBlock(w.at('mid_block'), {
          ...{ ...mid, layers: 1, resnet: { ...resnet, output_scale_factor: c.mid_block_scale_factor } },
          transformer: { ...mid.transformer, only_cross_attention: false },
        });
  const up_blocks = up.map((type, n) => {
    const i = levels - 1 - n;
    const known = level(type, i, channels[Math.min(i + 1, levels - 1)]!);
    const skips = Array.from({ length: known.layers + 1 }, () => widths.pop()!);
    return upBlock(w.at('up_blocks').at(n), { ...known, layers: skips.length }, skips, i === 0);
  });
  const conv_norm_out = groups === null ? undefined : groupNorm(w.at('conv_norm_out'), groups, first, c.norm_eps);
  const conv_out = conv2d(w.at('conv_out'), first, c.out_channels, kernel(c.conv_out_kernel));

  /** The time, and what else is known of the pictures, as each block is told it: [B, T], activated. */
  const embed = ({ timestep, timestep_cond, class_labels }: UNetInputs, B: number): Tensor => {
    const proj = timestep instanceof Tensor ? timestep : time_proj([timestep].flat());
    let emb = time_embedding(proj, timestep_cond); // [B or 1, T]
    if (class_embedding) {
      checkTensors('unet', { class_labels: class_labels as Tensor });
      const known = class_embedding(class_labels!);
      emb = c.class_embeddings_concat ? concat([emb.expand([B, T]), known.expand([B, T])], 1) : emb.add(known);
    }
    return act(embed_act(emb));
  };

  /** The noise, velocity or picture that is predicted, [B, out_channels, h, w]. */
  const forward = (inputs: UNetInputs) => {
    checkOptions('unet', inputs, '{ sample, timestep, encoder_hidden_states }', 'inputs');
    const { sample, encoder_hidden_states, encoder_attention_mask } = inputs;
    checkTensors('unet', { sample }, { encoder_hidden_states, timestep_cond: inputs.timestep_cond });
    if (sample.rank !== 4 || sample.shape[1] !== c.in_channels) {
      throw new RangeError(`[unet] sample: got [${sample.shape}], want [B, ${c.in_channels}, h, w]`);
    }
    const context = { encoder_hidden_states, attn_mask: keyMask(encoder_attention_mask) };
    const temb = embed(inputs, sample.shape[0]!);
    let x = conv_in(c.center_input_sample ? sample.mul(2).sub(1) : sample);
    const states = [x];
    for (const block of down_blocks) {
      states.push(...block(x, temb, context));
      x = states.at(-1)!;
    }
    x = mid_block(x, temb, context);
    for (const block of up_blocks) x = block(x, states, temb, context);
    return { sample: conv_out(conv_norm_out ? act(conv_norm_out(x)) : x) };
  };
  const side = [config.sample_size ?? 32].flat();
  const dummy_inputs = {
    sample: [1, c.in_channels, side[0], side.at(-1)],
    encoder_hidden_states: [1, 77, contexts[0]!],
  };
  return { forward, time_proj, dummy_inputs };
}

export const UNet2DConditionModel = pretrained('UNet2DConditionModel', unet2dCondition);
