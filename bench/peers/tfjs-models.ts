// The models as users of TensorFlow.js write them: functions of weights and inputs. Pictures are NHWC, linear layers [in, out].
import * as tf from '@tensorflow/tfjs-core';
import type { ModelCase } from '../cases.ts';
import { CLIP } from '../models.ts';
import { turns } from './rope.ts';
import { unetLevel, unetStep, vaeDecode } from './tfjs-diffusion.ts';
import { attention, layerNorm, linearOf, rmsNorm, type T, type Weights } from './tfjs-parts.ts';

/** [L, L]: very low where a token comes later. */
const causal = (L: number): T => {
  const places = tf.range(0, L);
  return tf.mul(tf.cast(tf.greater(tf.expandDims(places, 0), tf.expandDims(places, 1)), 'float32'), -1e9);
};

type Tower = { L: number; D: number; heads: number };

function encoder(w: Weights, prefix: string, { L, D, heads }: Tower, x: T, mask?: T): T {
  const B = x.shape[0];
  const norm = (name: string, y: T) => layerNorm(y, w[`${name}.weight`], w[`${name}.bias`]);
  const linear = (name: string, y: T) => {
    const a = tf.reshape(y, [B * L, y.shape[2]]);
    return tf.reshape(tf.fused.matMul({ a, b: w[`${name}.weight`], bias: w[`${name}.bias`] }), [B, L, -1]);
  };
  const split = (y: T) => tf.transpose(tf.reshape(y, [B, L, heads, D / heads]), [0, 2, 1, 3]);
  for (let i = 0; i < CLIP.layers; i++) {
    const layer = `${prefix}.encoder.layers.${i}`;
    const before = x;
    x = tf.tidy(() => {
      const y = norm(`${layer}.layer_norm1`, before);
      const [q, k, v] = ['q', 'k', 'v'].map((p) => split(linear(`${layer}.self_attn.${p}_proj`, y)));
      const attended = tf.reshape(tf.transpose(attention(q, k, v, mask), [0, 2, 1, 3]), [B, L, D]);
      const after = tf.add(before, linear(`${layer}.self_attn.out_proj`, attended));
      const h = linear(`${layer}.mlp.fc1`, norm(`${layer}.layer_norm2`, after));
      return tf.add(after, linear(`${layer}.mlp.fc2`, tf.mul(h, tf.sigmoid(tf.mul(h, 1.702)))));
    });
  }
  return x;
}

function textFeatures(w: Weights, ids: T): T {
  const [B, L] = ids.shape;
  const at = 'text_model';
  const tokens = tf.gather(w[`${at}.embeddings.token_embedding.weight`], ids);
  const x = encoder(w, at, CLIP.text, tf.add(tokens, w[`${at}.embeddings.position_embedding.weight`]), causal(L));
  const y = layerNorm(x, w[`${at}.final_layer_norm.weight`], w[`${at}.final_layer_norm.bias`]);
  const starts = tf.mul(tf.range(0, B, 1, 'int32'), tf.scalar(L, 'int32'));
  const end = tf.add(tf.argMax(ids, -1), starts); // the end has the largest id
  return tf.matMul(tf.gather(tf.reshape(y, [B * L, CLIP.text.D]), end), w['text_projection.weight']);
}

function imageFeatures(w: Weights, pixels: T): T {
  const B = pixels.shape[0];
  const { D } = CLIP.image;
  const at = 'vision_model';
  const filter = w[`${at}.embeddings.patch_embedding.weight`];
  const grid = tf.reshape(tf.conv2d(pixels, filter, 32, 'valid'), [B, 49, D]);
  const first = tf.tile(tf.reshape(w[`${at}.embeddings.class_embedding`], [1, 1, D]), [B, 1, 1]);
  const x = tf.add(tf.concat([first, grid], 1), w[`${at}.embeddings.position_embedding.weight`]);
  const normed = layerNorm(x, w[`${at}.pre_layrnorm.weight`], w[`${at}.pre_layrnorm.bias`]);
  const all = encoder(w, at, CLIP.image, normed);
  const last = tf.reshape(tf.slice(all, [0, 0, 0], [B, 1, D]), [B, D]);
  const pooled = layerNorm(last, w[`${at}.post_layernorm.weight`], w[`${at}.post_layernorm.bias`]);
  return tf.matMul(pooled, w['visual_projection.weight']);
}

/** Gives what a cache would keep, too. */
function llamaBlock({ dims }: ModelCase) {
  const [L, S, D, , heads, shared] = dims as [number, number, number, number, number, number];
  const [d, half] = [D / heads, D / heads / 2];
  const tables = turns(S - L, S, half);
  const [cos, sin] = [tables.cos, tables.sin].map((t) => tf.keep(tf.tensor(t, [L, half])));
  return (w: Weights, x: T, ...past: T[]): T[] => {
    const at = 'model.layers.0';
    const linear = linearOf(w);
    const turn = (y: T) => {
      const [a, b] = tf.split(y, 2, -1);
      return tf.concat([tf.sub(tf.mul(a, cos), tf.mul(b, sin)), tf.add(tf.mul(b, cos), tf.mul(a, sin))], -1);
    };
    const n = rmsNorm(x, w[`${at}.input_layernorm.weight`]);
    const project = (name: string, count: number) =>
      tf.transpose(tf.reshape(linear(`${at}.self_attn.${name}_proj`, n), [1, L, count, d]), [0, 2, 1, 3]);
    const added = [turn(project('k', shared)), project('v', shared)];
    const [k, v] = added.map((t, i) => (past[i] ? tf.concat([past[i], t], 2) : t));
    const rows = (heads / shared) * L; // queries of one head of keys
    const q = tf.reshape(turn(project('q', heads)), [1, shared, rows, d]);
    const mask = L > 1 ? tf.tile(causal(L), [heads / shared, 1]) : undefined;
    const attended = tf.reshape(attention(q, k, v, mask), [1, heads, L, d]);
    const merged = tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [1, L, D]);
    const h = tf.add(x, linear(`${at}.self_attn.o_proj`, merged));
    const m = rmsNorm(h, w[`${at}.post_attention_layernorm.weight`]);
    const gate = linear(`${at}.mlp.gate_proj`, m);
    const gated = tf.mul(tf.mul(gate, tf.sigmoid(gate)), linear(`${at}.mlp.up_proj`, m));
    return [rmsNorm(tf.add(h, linear(`${at}.mlp.down_proj`, gated)), w['model.norm.weight']), k, v];
  };
}

/** A function of weights and inputs for each case of a model; its first result is the case's. */
// biome-ignore lint/suspicious/noExplicitAny: each has its own inputs
export const MODELS: Record<string, (c: ModelCase) => (w: Weights, ...x: any[]) => T | T[]> = {
  clip_text: () => textFeatures,
  clip_image: () => imageFeatures,
  llama_block: llamaBlock,
  unet_level: unetLevel,
  unet_step: unetStep,
  vae_decode: vaeDecode,
  sd_vae_decode: vaeDecode,
};
