// Attention as its definition: two products and a softmax. On software adapters nothing fused beats these kernels.
import type { Tensor } from '../tensor/tensor.ts';
import { arange } from './elementwise-family.ts';

const MASKED = -3.4028234663852886e38; // the lowest f32: exp of anything minus it is 0, and it is never NaN

export type AttentionOptions = {
  /** bool (true: may look) or a float to add, broadcast to [..., L, S]. */
  attn_mask?: Tensor | undefined;
  /** Query i sees keys 0..i + S - L: with as many queries as keys the usual triangle. */
  is_causal?: boolean;
  /** Default 1 / sqrt(D). */
  scale?: number;
};

/** softmax(q k^T scale + mask) v. q: [..., L, D], k: [..., S, D], v: [..., S, E]; result [..., L, E]. Scores are f32. */
export function scaled_dot_product_attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { attn_mask, is_causal = false, scale = 1 / Math.sqrt(q.shape.at(-1)!) }: AttentionOptions = {},
): Tensor {
  let scores = q.matmul(k.transpose(-2, -1), 'f32').mul(scale); // [..., L, S]
  if (attn_mask) {
    if (attn_mask.dtype === 'i32' || attn_mask.dtype === 'u32') {
      throw new TypeError(
        `[scaled_dot_product_attention] attn_mask: got ${attn_mask.dtype}, want bool or a float; call .ne(0)`,
      );
    }
    scores = attn_mask.dtype === 'bool' ? attn_mask.where(scores, MASKED) : scores.add(attn_mask).maximum(MASKED);
  }
  if (is_causal) {
    const [L, S] = [q.shape.at(-2)!, k.shape.at(-2)!];
    const seen = arange(S).le(
      arange(L)
        .add(S - L)
        .unsqueeze(-1),
    );
    scores = seen.where(scores, MASKED);
  }
  return scores.softmax(-1).matmul(v, q.dtype);
}
