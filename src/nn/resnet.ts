// The residual block of diffusion models and their autoencoders, and their changes of resolution (diffusers' resnet.py).
import type { Weights } from '../io/weights.ts';
import { upsample_nearest } from '../ops/upsample.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { activation } from './activation.ts';
import { conv2d, groupNorm, linear } from './layers.ts';

export type ResnetConfig = {
  groups: number;
  eps: number;
  act_fn?: string;
  /** Width of the embedding of time, where the block is told the time. */
  temb_channels?: number;
  /** How it is told: added, or as scale and shift of the second norm. */
  time_embedding_norm?: 'default' | 'scale_shift';
  output_scale_factor?: number;
};

/** (shortcut(x) + conv2(act(norm2(conv1(act(norm1(x))) + time)))) / factor. x [B, C, H, W]; temb [B, D], already activated. */
export function resnetBlock(w: Weights, inChannels: number, outChannels: number, c: ResnetConfig) {
  const { groups, eps, act_fn = 'silu', temb_channels, output_scale_factor = 1 } = c;
  const scales = c.time_embedding_norm === 'scale_shift';
  const act = activation(act_fn);
  const norm1 = groupNorm(w.at('norm1'), groups, inChannels, eps);
  const conv1 = conv2d(w.at('conv1'), inChannels, outChannels, { kernel_size: 3, padding: 1 });
  const time_emb_proj = temb_channels
    ? linear(w.at('time_emb_proj'), temb_channels, scales ? 2 * outChannels : outChannels)
    : undefined;
  const norm2 = groupNorm(w.at('norm2'), groups, outChannels, eps);
  const conv2 = conv2d(w.at('conv2'), outChannels, outChannels, { kernel_size: 3, padding: 1 });
  const shortcut =
    inChannels === outChannels
      ? (x: Tensor) => x
      : conv2d(w.at('conv_shortcut'), inChannels, outChannels, { kernel_size: 1 });

  const timed = (h: Tensor, temb?: Tensor): Tensor => {
    if (!time_emb_proj || !temb) return norm2(h);
    const time = time_emb_proj(temb).unsqueeze(-1).unsqueeze(-1); // [B, C or 2 C, 1, 1]
    if (!scales) return norm2(h.add(time));
    const [scale, shift] = time.split(outChannels, 1) as [Tensor, Tensor];
    return norm2(h).mul(scale.add(1)).add(shift);
  };
  return (x: Tensor, temb?: Tensor): Tensor => {
    const h = conv2(act(timed(conv1(act(norm1(x))), temb)));
    const sum = shortcut(x).add(h);
    return output_scale_factor === 1 ? sum : sum.div(output_scale_factor);
  };
}

/** Half the resolution; padding 0 pads right and below only, as autoencoders do. */
export function downsample2d(w: Weights, channels: number, padding: number) {
  const around =
    padding === 0
      ? ([
          [0, 1],
          [0, 1],
        ] as const)
      : padding;
  return conv2d(w.at('conv'), channels, channels, { kernel_size: 3, stride: 2, padding: around });
}

/** Twice the resolution by nearest neighbours, or a size at most one smaller, and a convolution. */
export function upsample2d(w: Weights, channels: number) {
  const conv = conv2d(w.at('conv'), channels, channels, { kernel_size: 3, padding: 1 });
  return (x: Tensor, size?: readonly number[]): Tensor => conv(upsample_nearest(x, size));
}
