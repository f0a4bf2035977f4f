// Attention as its definition: two products and a softmax, on software adapters as fast as anything fused; of few queries, one kernel.
import { checkOptions, checkTensors } from '../tensor/check.ts';
import { type Backward, composite } from '../tensor/op.ts';
import { broadcastShapes } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ofFew } from './attend.ts';
import { byQueries } from './attention-pieces.ts';
import { arange } from './elementwise-family.ts';
import { matmulOfHeads } from './matmul.ts';
import { isAttentionWanted, tellAttention } from './watch.ts';

const MASKED = -3.4028234663852886e38; // the lowest f32: exp of anything minus it is 0, and it is never NaN

export type AttentionOptions = {
  /** bool (true: may look) or a float to add, broadcast to [..., L, S]. */
  attn_mask?: Tensor | undefined;
  /** Query i sees keys 0..i + S - L: with as many queries as keys the usual triangle. */
  is_causal?: boolean;
  /** Default 1 / sqrt(D). */
  scale?: number;
  /** q [..., H, L, D] may have several heads for each of k and v: neighbours share one. */
  enable_gqa?: boolean;
};

/** x [..., L, S] with `value` where a query may not see a key. */
function hide(x: Tensor, mask: Tensor | undefined, is_causal: boolean, value: number): Tensor {
  const shown = mask?.dtype === 'bool' ? mask.where(x, value) : x;
  if (!is_causal) return shown;
  const [L, S] = x.shape.slice(-2) as [number, number];
  const last = arange(L).add(S - L); // that a query sees
  return arange(S).le(last.unsqueeze(-1)).where(shown, value);
}

/** softmax(q k^T scale + mask), [..., L, S], in f32. */
function probabilities(q: Tensor, k: Tensor, mask: Tensor | undefined, scale: number, is_causal: boolean): Tensor {
  const scores = q.matmul(k.transpose(-2, -1), 'f32').mul(scale);
  const added = mask && mask.dtype !== 'bool' ? scores.add(mask).maximum(MASKED) : scores;
  return hide(added, mask, is_causal, MASKED).softmax(-1);
}

/**
 * The gradients of all inputs: p is made again, so that no [..., L, S] is kept from the forward pass. Of a piece each input's
 * are made by themselves, or those of all pieces would wait for one another.
 */
const gradients: Backward<Record<'q' | 'k' | 'v' | 'mask', Tensor>> = (dy, { x, y, attrs, once }) =>
  (attrs.is_piece ? <T>(make: () => T) => make() : once)(() => {
    const [q, k, v] = [x[0]!, x[1]!, x[2]!];
    const p = probabilities(q, k, x[3], attrs.scale, attrs.is_causal);
    const along = dy.to('f32').mul(y).sum(-1, true); // sum(dp p) over the keys
    const dp = dy.matmul(v.transpose(-2, -1), 'f32');
    const all = hide(p.mul(dp.sub(along)), x[3], attrs.is_causal, 0); // where all is hidden p is not 0
    const ds = x[3] && x[3].dtype !== 'bool' ? x[3].gt(MASKED).where(all, 0) : all;
    return {
      q: ds.matmul(k).mul(attrs.scale),
      k: ds.transpose(-2, -1).matmul(q).mul(attrs.scale),
      v: p.transpose(-2, -1).matmul(dy),
      mask: ds,
    };
  });
const definition = {
  name: 'scaled_dot_product_attention',
  saves: [0, 1, 2, 3, 'y'],
  backward: (['q', 'k', 'v', 'mask'] as const).map(
    (name): Backward =>
      (dy, saved) =>
        gradients(dy, saved)[name],
  ),
} as const;

/** softmax(q k^T scale + mask) v. q: [..., L, D], k: [..., S, D], v: [..., S, E]; result [..., L, E]. Scores are f32. */
export function scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  checkOptions('scaled_dot_product_attention', options, '{ is_causal: true }');
  return composed(q, k, v, options, false);
}
function composed(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions, is_piece: boolean): Tensor {
  const { attn_mask, is_causal = false, scale: given, enable_gqa = false } = options;
  checkTensors('scaled_dot_product_attention', { q, k, v }, { attn_mask });
  if (enable_gqa && q.shape.at(-3) !== k.shape.at(-3)) return grouped(q, k, v, options);
  const scale = given ?? 1 / Math.sqrt(q.shape.at(-1)!);
  if (attn_mask && (attn_mask.dtype === 'i32' || attn_mask.dtype === 'u32')) {
    throw new TypeError(
      `[scaled_dot_product_attention] attn_mask: got ${attn_mask.dtype}, want bool or a float; call .ne(0)`,
    );
  }
  const whole = (t: Tensor, ...size: number[]) => t.expand([...batch, ...size]);
  const batch = [q, k, v, attn_mask ?? v]
    .map((t) => t.shape.slice(0, -2))
    .reduce((a, b) => broadcastShapes(definition.name, a, b));
  const [L, S] = [q.shape.at(-2)!, k.shape.at(-2)!];
  const x = [q, k, v].map((t) => whole(t, ...t.shape.slice(-2)));
  const mask = attn_mask && whole(attn_mask, L, S);
  if (!is_piece && !isAttentionWanted()) {
    const pieces = byQueries((q, k, v, piece) => composed(q, k, v, piece, true), x, {
      attn_mask: mask,
      is_causal,
      scale,
    });
    if (pieces) return pieces;
  }
  const p = () => probabilities(x[0]!, x[1]!, mask, scale, is_causal);
  tellAttention(p);
  const y = ofFew(x, mask, scale, is_causal) ?? matmulOfHeads(p(), x[2]!, q.dtype);
  return composite(definition, mask ? [...x, mask] : x, y, { scale, is_causal, is_piece });
}

/** Heads of q in groups, one for each head of k and v, which matmul reads once for all of a group. */
function grouped(q: Tensor, k: Tensor, v: Tensor, { attn_mask, ...options }: AttentionOptions): Tensor {
  const [H, shared] = [q.shape.at(-3)!, k.shape.at(-3)!];
  if (!Number.isInteger(H / shared)) {
    throw new RangeError(`[${definition.name}] heads: got ${H} of q for ${shared} of k, want a multiple`);
  }
  const group = (t: Tensor, size = 1) =>
    t.rank < 3 ? t : t.reshape([...t.shape.slice(0, -3), t.shape.at(-3)! / size, size, ...t.shape.slice(-2)]);
  const mask = attn_mask && group(attn_mask, attn_mask.shape.at(-3) === H ? H / shared : 1);
  const y = scaled_dot_product_attention(group(q, H / shared), group(k), group(v), {
    ...options,
    attn_mask: mask,
    enable_gqa: false,
  });
  return y.flatten(-4, -3);
}
