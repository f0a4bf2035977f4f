// Multi-head attention (arXiv:1706.03762).
import type { Weights } from '../io/weights.ts';
import { type AttentionOptions, scaled_dot_product_attention } from '../ops/attention.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { linear } from './layers.ts';

const checkHeads = (size: number, heads: number) => {
  if (heads < 1 || size % heads !== 0) throw new RangeError(`[attention] heads: got ${heads} for a width of ${size}`);
};

/** [B, L, D] as heads [B, H, L, D/H]: a view. */
export const splitHeads = (x: Tensor, heads: number): Tensor =>
  x.reshape([x.shape[0]!, x.shape[1]!, heads, -1]).transpose(1, 2);
/** And back. */
export const mergeHeads = (x: Tensor): Tensor => x.transpose(1, 2).flatten(2);

/** Attention of several heads on projected q [B, L, D], k and v [B, S, D]: [B, L, D]. */
export function multiHead(q: Tensor, k: Tensor, v: Tensor, heads: number, options?: AttentionOptions): Tensor {
  const [qh, kh, vh] = [q, k, v].map((x) => splitHeads(x, heads)) as [Tensor, Tensor, Tensor];
  return mergeHeads(scaled_dot_product_attention(qh, kh, vh, options));
}

/** q_proj, k_proj, v_proj, out_proj of transformers' encoders. */
export function selfAttention(w: Weights, size: number, heads: number) {
  checkHeads(size, heads);
  const [q, k, v, out] = ['q_proj', 'k_proj', 'v_proj', 'out_proj'].map((name) => linear(w.at(name), size, size));
  return (x: Tensor, options?: AttentionOptions) => out!(multiHead(q!(x), k!(x), v!(x), heads, options));
}

/** torch.nn.MultiheadAttention: q, k and v are projected by parts of in_proj_weight [3 D, D]. */
export function multiheadAttention(w: Weights, size: number, heads: number) {
  checkHeads(size, heads);
  const weights = w.get('in_proj_weight', [3 * size, size]).split(size);
  const biases = w.get('in_proj_bias', [3 * size]).split(size);
  const out = linear(w.at('out_proj'), size, size);
  const project = (x: Tensor, part: number) => x.matmul(weights[part]!.transpose(0, 1)).add(biases[part]!);
  return (q: Tensor, k: Tensor, v: Tensor, options?: AttentionOptions) =>
    out(multiHead(project(q, 0), project(k, 1), project(v, 2), heads, options));
}

/** to_q, to_k, to_v and to_out.0 of diffusers. `context` is the width of what keys and values come from, x where none is given. */
export function crossAttention(
  w: Weights,
  size: number,
  heads: number,
  { context = size, bias = false }: { context?: number | undefined; bias?: boolean } = {},
) {
  checkHeads(size, heads);
  const to_q = linear(w.at('to_q'), size, size, { bias });
  const to_k = linear(w.at('to_k'), context, size, { bias });
  const to_v = linear(w.at('to_v'), context, size, { bias });
  const to_out = linear(w.at('to_out.0'), size, size);
  return (x: Tensor, seen: Tensor = x, options?: AttentionOptions) =>
    to_out(multiHead(to_q(x), to_k(seen), to_v(seen), heads, options));
}
