// Transformers on the pixels of a picture, which look at themselves and at a context (diffusers' Transformer2DModel).
import type { Weights } from '../io/weights.ts';
import type { AttentionOptions } from '../ops/attention.ts';
import type { Conv2dOptions } from '../ops/conv.ts';
import { gelu } from '../ops/elementwise.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { crossAttention } from './attention.ts';
import { conv2d, groupNorm, layerNorm, linear } from './layers.ts';

export type TransformerBlockConfig = {
  heads: number;
  head_dim: number;
  /** Width of the context; without one there is no second attention. */
  cross_attention_dim?: number | undefined;
  /** The first attention looks at the context too. */
  only_cross_attention?: boolean;
  /** The second attention looks at the tokens themselves. */
  double_self_attention?: boolean;
};
export type Context = { encoder_hidden_states?: Tensor | undefined } & Pick<AttentionOptions, 'attn_mask'>;

/** a gelu(b), a and b being the halves of a projection; then a projection back. */
function geglu(w: Weights, size: number) {
  const proj = linear(w.at('net.0.proj'), size, 8 * size);
  const out = linear(w.at('net.2'), 4 * size, size);
  return (x: Tensor) => {
    const [a, gate] = proj(x).split(4 * size, -1) as [Tensor, Tensor];
    return out(a.mul(gelu(gate)));
  };
}

/** BasicTransformerBlock: x [B, L, D], D = heads * head_dim. */
export function transformerBlock(w: Weights, c: TransformerBlockConfig) {
  const { heads, head_dim, cross_attention_dim, only_cross_attention = false, double_self_attention = false } = c;
  const size = heads * head_dim;
  const norm = (name: string) => layerNorm(w.at(name), size, 1e-5);
  const attend = (name: string, context?: number) => crossAttention(w.at(name), size, heads, { context });
  const norm1 = norm('norm1');
  const attn1 = attend('attn1', only_cross_attention ? cross_attention_dim : undefined);
  const second = cross_attention_dim !== undefined || double_self_attention;
  const norm2 = second ? norm('norm2') : undefined;
  const attn2 = second ? attend('attn2', double_self_attention ? undefined : cross_attention_dim) : undefined;
  const norm3 = norm('norm3');
  const ff = geglu(w.at('ff'), size);
  return (x: Tensor, { encoder_hidden_states, attn_mask }: Context = {}): Tensor => {
    const [context, options] = [encoder_hidden_states, { attn_mask }];
    x = x.add(only_cross_attention ? attn1(norm1(x), context, options) : attn1(norm1(x)));
    if (attn2) x = x.add(double_self_attention ? attn2(norm2!(x)) : attn2(norm2!(x), context, options));
    return x.add(ff(norm3(x)));
  };
}

export type Transformer2dConfig = TransformerBlockConfig & {
  groups: number;
  layers?: number;
  /** Projections are linear: as 1 x 1 convolutions the file has [D, C, 1, 1]. */
  use_linear_projection?: boolean;
};

/** x + proj_out(blocks(proj_in(norm(x)))), x [B, C, H, W]. */
export function transformer2d(w: Weights, channels: number, c: Transformer2dConfig) {
  const size = c.heads * c.head_dim;
  const project = (name: string, from: number, to: number, options: Conv2dOptions = {}) =>
    c.use_linear_projection
      ? linear(w.at(name), from, to)
      : conv2d(w.at(name), from, to, { kernel_size: 1, ...options });
  const tokens = (x: Tensor) => x.flatten(2).transpose(1, 2); // [B, H W, C]
  const norm = groupNorm(w.at('norm'), c.groups, channels, 1e-6);
  const proj_in = project('proj_in', channels, size, { memory_format: 'channels_last' });
  const blocks = Array.from({ length: c.layers ?? 1 }, (_, i) => transformerBlock(w.at('transformer_blocks').at(i), c));
  const proj_out = project('proj_out', size, channels);
  return (x: Tensor, context?: Context): Tensor => {
    const [, , H, W] = x.shape as [number, number, number, number];
    const pixels = (t: Tensor) => t.transpose(1, 2).reshape([t.shape[0]!, t.shape[2]!, H, W]);
    let h = c.use_linear_projection ? proj_in(tokens(norm(x))) : tokens(proj_in(norm(x)));
    for (const block of blocks) h = block(h, context);
    return x.add(c.use_linear_projection ? pixels(proj_out(h)) : proj_out(pixels(h)));
  };
}
