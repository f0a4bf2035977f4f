// The models as users of jax-js write them: functions of weights and inputs, for jit().
import * as jax from '@jax-js/jax';
import type { ModelCase } from '../cases.ts';
import { CLIP } from '../models.ts';
import { unetLevel, unetStep, vaeDecode } from './jax-diffusion.ts';
import { type Array_, layerNorm, linearOf, rmsNorm, type Weights } from './jax-parts.ts';
import { turns } from './rope.ts';

const { lax, nn, numpy: np } = jax;

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

/** Gives what a cache would keep, too. */
function llamaBlock({ dims }: ModelCase) {
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

/** A function of weights and inputs for each case of a model; its first result is the case's. */
// biome-ignore lint/suspicious/noExplicitAny: each has its own inputs
export const MODELS: Record<string, (c: ModelCase) => (w: Weights, ...x: any[]) => Array_ | Array_[]> = {
  clip_text: () => textFeatures,
  clip_image: () => imageFeatures,
  llama_block: llamaBlock,
  unet_level: unetLevel,
  unet_step: unetStep,
  vae_decode: vaeDecode,
  sd_vae_decode: vaeDecode,
};
