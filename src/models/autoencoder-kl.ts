// The autoencoder of latent diffusion, Rombach et al. 2022, arXiv:2112.10752. Reference: diffusers AutoencoderKL.
// B = batch, C = channels, Z = latent_channels; a picture of H x W has latents of h x w, an eighth for four levels.
import { settings, sizes } from '../io/config.ts';
import { UserError } from '../io/error.ts';
import { type Config, pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { activation } from '../nn/activation.ts';
import { crossAttention } from '../nn/attention.ts';
import { conv2d, groupNorm } from '../nn/layers.ts';
import { downsample2d, type ResnetConfig, resnetBlock, upsample2d } from '../nn/resnet.ts';
import { inTiles } from '../nn/tiles.ts';
import type { Tensor } from '../tensor/tensor.ts';

const EPS = 1e-6;
const OVERLAP = 0.25; // of tiles, as diffusers has it
const DEFAULTS = {
  ...{ in_channels: 3, out_channels: 3, latent_channels: 4, layers_per_block: 1, norm_num_groups: 32, act_fn: 'silu' },
  ...{ mid_block_add_attention: true, use_quant_conv: true, use_post_quant_conv: true, sample_size: 32 },
};

/** What encoder and decoder need; `channels` from the picture inwards. */
export type CoderConfig = {
  channels: readonly number[];
  layers_per_block: number;
  norm_num_groups: number;
  act_fn: string;
  mid_block_add_attention: boolean;
};

const resnetOf = (c: CoderConfig): ResnetConfig => ({ groups: c.norm_num_groups, eps: EPS, act_fn: c.act_fn });

/** Every pixel looks at all others, with one head. */
function pixelAttention(w: Weights, channels: number, groups: number) {
  const norm = groupNorm(w.at('group_norm'), groups, channels, EPS);
  const attend = crossAttention(w, channels, 1, { bias: true });
  return (x: Tensor) => {
    const tokens = norm(x).flatten(2).transpose(1, 2); // [B, h w, C]
    return x.add(attend(tokens).transpose(1, 2).reshape(x.shape));
  };
}

function midBlock(w: Weights, channels: number, c: CoderConfig) {
  const first = resnetBlock(w.at('resnets.0'), channels, channels, resnetOf(c));
  const attention = c.mid_block_add_attention
    ? pixelAttention(w.at('attentions.0'), channels, c.norm_num_groups)
    : (x: Tensor) => x;
  const second = resnetBlock(w.at('resnets.1'), channels, channels, resnetOf(c));
  return (x: Tensor) => second(attention(first(x)));
}

/** Resnets of one resolution; `change` leads to the next one. */
function level(
  w: Weights,
  [from, to]: readonly [number, number],
  layers: number,
  c: CoderConfig,
  change?: (x: Tensor) => Tensor,
) {
  const resnets = Array.from({ length: layers }, (_, i) =>
    resnetBlock(w.at('resnets').at(i), i === 0 ? from : to, to, resnetOf(c)),
  );
  return (x: Tensor) => {
    for (const resnet of resnets) x = resnet(x);
    return change ? change(x) : x;
  };
}

function lastConv(w: Weights, channels: number, outChannels: number, c: CoderConfig) {
  const norm = groupNorm(w.at('conv_norm_out'), c.norm_num_groups, channels, EPS);
  const conv = conv2d(w.at('conv_out'), channels, outChannels, { kernel_size: 3, padding: 1 });
  const act = activation(c.act_fn);
  return (x: Tensor) => conv(act(norm(x)));
}

/** Pictures [B, inChannels, H, W] to [B, outChannels, h, w]. */
export function encoder(w: Weights, inChannels: number, outChannels: number, c: CoderConfig) {
  const { channels } = c;
  const last = channels.length - 1;
  const conv_in = conv2d(w.at('conv_in'), inChannels, channels[0]!, { kernel_size: 3, padding: 1 });
  const levels = channels.map((to, i) => {
    const block = w.at('down_blocks').at(i);
    const down = i < last ? downsample2d(block.at('downsamplers.0'), to, 0) : undefined;
    return level(block, [channels[Math.max(0, i - 1)]!, to], c.layers_per_block, c, down);
  });
  const mid_block = midBlock(w.at('mid_block'), channels[last]!, c);
  const out = lastConv(w, channels[last]!, outChannels, c);
  return (x: Tensor) => out(mid_block(levels.reduce((h, layer) => layer(h), conv_in(x))));
}

/** [B, inChannels, h, w] to pictures [B, outChannels, H, W]. */
export function decoder(w: Weights, inChannels: number, outChannels: number, c: CoderConfig) {
  const channels = [...c.channels].reverse();
  const last = channels.length - 1;
  const conv_in = conv2d(w.at('conv_in'), inChannels, channels[0]!, { kernel_size: 3, padding: 1 });
  const mid_block = midBlock(w.at('mid_block'), channels[0]!, c);
  const levels = channels.map((to, i) => {
    const block = w.at('up_blocks').at(i);
    const up = i < last ? upsample2d(block.at('upsamplers.0'), to) : undefined;
    return level(block, [channels[Math.max(0, i - 1)]!, to], c.layers_per_block + 1, c, up);
  });
  const out = lastConv(w, channels[last]!, outChannels, c);
  return (x: Tensor) => out(levels.reduce((h, layer) => layer(h), mid_block(conv_in(x))));
}

/** A Gaussian of latents, from its moments [B, 2 Z, h, w]. */
function posterior(moments: Tensor) {
  const [mean, rest] = moments.split(moments.shape[1]! / 2, 1) as [Tensor, Tensor];
  const logvar = rest.maximum(-30).minimum(20);
  /** mean + std * noise, the noise normal and of the shape of the mean. */
  const sample = (noise: Tensor) => mean.add(logvar.mul(0.5).exp().mul(noise));
  return { mean, logvar, sample };
}

function autoencoder(w: Weights, config: Config) {
  const c = settings('config', DEFAULTS, config);
  const channels = sizes('block_out_channels', config.block_out_channels ?? [64]);
  for (const [name, wanted] of [
    ['down_block_types', 'DownEncoderBlock2D'],
    ['up_block_types', 'UpDecoderBlock2D'],
  ] as const) {
    const other = [config[name] ?? []].flat().find((type: unknown) => type !== wanted);
    if (other !== undefined) throw new UserError(`[config] ${name}: got ${other}, want ${wanted}`);
  }
  const Z = c.latent_channels;
  const quant = (name: string, size: number, used: boolean) =>
    used ? conv2d(w.at(name), size, size, { kernel_size: 1 }) : (x: Tensor) => x;
  const coder = { ...c, channels };
  const encode_picture = encoder(w.at('encoder'), c.in_channels, 2 * Z, coder);
  const quant_conv = quant('quant_conv', 2 * Z, c.use_quant_conv);
  const post_quant_conv = quant('post_quant_conv', Z, c.use_post_quant_conv);
  const decode_latents = decoder(w.at('decoder'), Z, c.out_channels, coder);

  const size = c.sample_size;
  /** How much smaller latents are than their picture, along each side. */
  const factor = 2 ** (channels.length - 1);
  const sides = { picture: size, latent: Math.floor(size / factor) };
  let tiled = false;
  const whole = (x: Tensor, side: number) => !tiled || Math.max(...x.shape.slice(2)) <= side;
  /** Pictures [B, C, H, W] of -1..1 to the distribution of their latents, not yet scaled. */
  const encode = (x: Tensor) => {
    const { picture: from, latent: to } = sides;
    const moments = (part: Tensor) => quant_conv(encode_picture(part));
    return posterior(whole(x, from) ? moments(x) : inTiles(x, moments, { from, to, overlap: OVERLAP }));
  };
  /** Latents [B, Z, h, w], no longer scaled, to pictures of about -1..1. */
  const decode = (z: Tensor) => {
    const { latent: from, picture: to } = sides;
    const pixels = (part: Tensor) => decode_latents(post_quant_conv(part));
    return whole(z, from) ? pixels(z) : inTiles(z, pixels, { from, to, overlap: OVERLAP });
  };
  /**
   * Pictures larger than `sample_size` go through in tiles of that size that overlap by a quarter and are blended, in the
   * memory of one. Each tile is normalised by itself and attends to itself alone, so colours and textures may drift from
   * tile to tile: pictures of tessera-diffusion of 128 x 128 are 28 dB from those decoded whole.
   */
  const enable_tiling = (use_tiling = true) => {
    tiled = use_tiling;
  };
  const disable_tiling = () => enable_tiling(false);
  const forward = ({ sample }: { sample: Tensor }) => ({ sample: decode(encode(sample).mean) });
  return {
    encode,
    decode,
    forward,
    enable_tiling,
    disable_tiling,
    factor,
    dummy_inputs: { sample: [1, c.in_channels, size, size] },
  };
}

export const AutoencoderKL = pretrained('AutoencoderKL', autoencoder);
