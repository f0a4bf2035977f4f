// The models as users of jax-js write them: functions of weights and inputs, for jit().
import * as jax from '@jax-js/jax';
import type { Case } from '../cases.ts';
import { CLIP, LEVEL } from '../models.ts';
import { turns } from './rope.ts';

// biome-ignore lint/suspicious/noExplicitAny: a peer's arrays
type Array_ = any;
type Weights = Record<string, Array_>;
const { lax, nn, numpy: np } = jax;

export const layerNorm = (x: Array_, w: Array_, b: Array_, eps = 1e-5) => {
  const centered = x.ref.sub(x.mean(-1, { keepdims: true }));
  const variance = centered.ref.mul(centered.ref).mean(-1, { keepdims: true });
  return centered
    .div(np.sqrt(variance.add(eps)))
    .mul(w)
    .add(b);
};
export const rmsNorm = (x: Array_, w: Array_) => {
  const scale = np.sqrt(x.ref.mul(x.ref).mean(-1, { keepdims: true }).add(1e-5));
  return x.div(scale).mul(w);
};

export const groupNorm = (x: Array_, w: Array_, b: Array_, eps = 1e-5) => {
  const { shape } = x;
  const centered = layerNorm(x.reshape([shape[0] * 32, -1]), np.array(1), np.array(0), eps).reshape(shape);
  return centered.mul(w.reshape([-1, 1, 1])).add(b.reshape([-1, 1, 1]));
};

type Tower = { L: number; D: number; heads: number };

function encoder(w: Weights, prefix: string, { D, heads }: Tower, x: Array_, isCausal: boolean): Array_ {
  const [B, L] = x.shape;
  const norm = (name: string, y: Array_) => layerNorm(y, w[`${name}.weight`].ref, w[`${name}.bias`].ref);
  const linear = (name: string, y: Array_) => np.dot(y, w[`${name}.weight`].ref.transpose()).add(w[`${name}.bias`].ref);
  for (let i = 0; i < CLIP.layers; i++) {
    const layer = `${prefix}.encoder.layers.${i}`;
    const y = norm(`${layer}.layer_norm1`, x.ref);
    const [q, k, v] = ['q', 'k', 'v'].map((p) =>
      linear(`${layer}.self_attn.${p}_proj`, y.ref).reshape([B, L, heads, D / heads]),
    );
    y.dispose();
    const attended = nn.dotProductAttention(q, k, v, { isCausal }).reshape([B, L, D]);
    x = x.add(linear(`${layer}.self_attn.out_proj`, attended));
    const h = linear(`${layer}.mlp.fc1`, norm(`${layer}.layer_norm2`, x.ref));
    const activated = h.ref.mul(nn.sigmoid(h.mul(1.702)));
    x = x.add(linear(`${layer}.mlp.fc2`, activated));
  }
  return x;
}

function textFeatures(w: Weights, ids: Array_): Array_ {
  const [B, L] = ids.shape;
  const at = 'text_model';
  const embedded = w[`${at}.embeddings.token_embedding.weight`].ref.slice(ids.ref);
  let x = embedded.add(w[`${at}.embeddings.position_embedding.weight`].ref);
  x = encoder(w, at, CLIP.text, x, true);
  x = layerNorm(x, w[`${at}.final_layer_norm.weight`].ref, w[`${at}.final_layer_norm.bias`].ref);
  const end = np.argmax(ids, -1).add(np.arange(B).mul(L)); // the end has the largest id
  return np.dot(x.reshape([B * L, CLIP.text.D]).slice(end), w['text_projection.weight'].ref.transpose());
}

function imageFeatures(w: Weights, pixels: Array_): Array_ {
  const B = pixels.shape[0];
  const { D } = CLIP.image;
  const at = 'vision_model';
  const patches = lax.conv(pixels, w[`${at}.embeddings.patch_embedding.weight`].ref, [32, 32], 'VALID');
  const grid = patches.reshape([B, D, 49]).transpose([0, 2, 1]);
  const first = np.broadcastTo(w[`${at}.embeddings.class_embedding`].ref, [B, 1, D]);
  let x = np.concatenate([first, grid], 1).add(w[`${at}.embeddings.position_embedding.weight`].ref);
  x = layerNorm(x, w[`${at}.pre_layrnorm.weight`].ref, w[`${at}.pre_layrnorm.bias`].ref);
  x = encoder(w, at, CLIP.image, x, false).slice([], 0);
  x = layerNorm(x, w[`${at}.post_layernorm.weight`].ref, w[`${at}.post_layernorm.bias`].ref);
  return np.dot(x, w['visual_projection.weight'].ref.transpose());
}

const linearOf = (w: Weights) => (name: string, x: Array_) => {
  const y = np.dot(x, w[`${name}.weight`].ref.transpose());
  const bias = w[`${name}.bias`];
  return bias ? y.add(bias.ref) : y;
};

/** Gives what a cache would keep, too. */
function llamaBlock({ dims }: Case) {
  const [L, S, D, , heads, shared] = dims as [number, number, number, number, number, number];
  const half = D / heads / 2;
  const { cos, sin } = turns(S - L, S, half);
  return (w: Weights, x: Array_, ...past: Array_[]): Array_[] => {
    const at = 'model.layers.0';
    const linear = linearOf(w);
    const turn = (y: Array_) => {
      const [c, s] = [cos, sin].map((t) => np.array(t, { shape: [L, 1, half] }));
      const [a, b] = [y.ref.slice([], [], [], [0, half]), y.slice([], [], [], [half, 2 * half])];
      const turned = [a.ref.mul(c.ref).sub(b.ref.mul(s.ref)), b.mul(c).add(a.mul(s))];
      return np.concatenate(turned, -1);
    };
    const n = rmsNorm(x.ref, w[`${at}.input_layernorm.weight`].ref);
    const project = (name: string, count: number) =>
      linear(`${at}.self_attn.${name}_proj`, n.ref).reshape([1, L, count, 2 * half]);
    const q = turn(project('q', heads));
    const added = [turn(project('k', shared)), project('v', shared)];
    const [k, v] = added.map((t, i) => (past[i] ? np.concatenate([past[i], t], 1) : t));
    n.dispose();
    const attended = nn.dotProductAttention(q, k.ref, v.ref, { isCausal: L > 1 }).reshape([1, L, D]);
    const h = x.add(linear(`${at}.self_attn.o_proj`, attended));
    const m = rmsNorm(h.ref, w[`${at}.post_attention_layernorm.weight`].ref);
    const gate = nn.silu(linear(`${at}.mlp.gate_proj`, m.ref));
    const y = h.add(linear(`${at}.mlp.down_proj`, gate.mul(linear(`${at}.mlp.up_proj`, m))));
    return [rmsNorm(y, w['model.norm.weight'].ref), k, v];
  };
}

function unetLevel({ dims }: Case) {
  const [C, H, W] = dims as [number, number, number];
  const { heads } = LEVEL;
  return (w: Weights, x: Array_, temb: Array_, context: Array_): Array_ => {
    const linear = linearOf(w);
    const conv = (name: string, y: Array_) =>
      lax.conv(y, w[`${name}.weight`].ref, [1, 1], 'SAME').add(w[`${name}.bias`].ref.reshape([-1, 1, 1]));
    const group = (name: string, y: Array_, eps?: number) =>
      groupNorm(y, w[`${name}.weight`].ref, w[`${name}.bias`].ref, eps);
    const norm = (name: string, y: Array_) => layerNorm(y, w[`${name}.weight`].ref, w[`${name}.bias`].ref);
    const time = linear('resnet.time_emb_proj', temb).reshape([1, C, 1, 1]);
    const first = conv('resnet.conv1', nn.silu(group('resnet.norm1', x.ref))).add(time);
    const r = x.add(conv('resnet.conv2', nn.silu(group('resnet.norm2', first))));

    const attend = (name: string, y: Array_, seen: Array_) => {
      const [q, k, v] = (
        [
          ['to_q', y],
          ['to_k', seen.ref],
          ['to_v', seen],
        ] as const
      ).map(([part, z]) => linear(`${name}.${part}`, z).reshape([1, -1, heads, C / heads]));
      return linear(`${name}.to_out.0`, nn.dotProductAttention(q, k, v).reshape([1, H * W, C]));
    };
    const at = 'attention.transformer_blocks.0';
    let t = conv('attention.proj_in', group('attention.norm', r.ref, 1e-6))
      .reshape([1, C, H * W])
      .transpose([0, 2, 1]);
    const n = norm(`${at}.norm1`, t.ref);
    t = t.add(attend(`${at}.attn1`, n.ref, n));
    t = t.add(attend(`${at}.attn2`, norm(`${at}.norm2`, t.ref), context));
    const both = linear(`${at}.ff.net.0.proj`, norm(`${at}.norm3`, t.ref));
    const gate = nn.gelu(both.ref.slice([], [], [4 * C]), { approximate: false });
    t = t.add(linear(`${at}.ff.net.2`, both.slice([], [], [0, 4 * C]).mul(gate)));
    return r.add(conv('attention.proj_out', t.transpose([0, 2, 1]).reshape([1, C, H, W])));
  };
}

/** A function of weights and inputs for each case of a model; its first result is the case's. */
// biome-ignore lint/suspicious/noExplicitAny: each has its own inputs
export const MODELS: Record<string, (c: Case) => (w: Weights, ...x: any[]) => Array_ | Array_[]> = {
  clip_text: () => textFeatures,
  clip_image: () => imageFeatures,
  llama_block: llamaBlock,
  unet_level: unetLevel,
};
