// TensorFlow.js core on its WebGPU backend, eager, with the layouts it prefers: NHWC pictures, weights [in, out].
import * as tf from '@tensorflow/tfjs-core';
import type { Case } from '../cases.ts';
import { CLIP, namesOf, SHAPES, weight } from '../clip.ts';
import { permute, type Values, values } from '../data.ts';
import type { Engine, Work } from '../engine.ts';
import { provideNavigator } from './navigator.ts';

// biome-ignore lint/suspicious/noExplicitAny: a peer's tensors
type T = any;
type Fn = (...x: T[]) => T;

const layerNorm = (x: T, w: T, b: T): T => {
  const { mean, variance } = tf.moments(x, -1, true);
  const y = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
  return tf.add(tf.mul(y, w), b);
};
const rmsNorm = (x: T, w: T): T => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5))), w);
const gelu = (x: T): T => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
const attention = (q: T, k: T, v: T, mask?: T): T => {
  const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(q.shape.at(-1)));
  return tf.matMul(tf.softmax(mask ? tf.add(scores, mask) : scores), v);
};

/** Core has no group norm; groups are rows in its own order of dimensions too, once they are brought together. */
const groupNormSilu = (x: T, w: T, b: T): T => {
  const rows = tf.reshape(x, [x.shape[0] * 32, -1]);
  const { mean, variance } = tf.moments(rows, -1, true);
  const y = tf.reshape(tf.mul(tf.sub(rows, mean), tf.rsqrt(tf.add(variance, 1e-5))), x.shape);
  const z = tf.add(tf.mul(y, tf.reshape(w, [-1, 1, 1])), tf.reshape(b, [-1, 1, 1]));
  return tf.mul(z, tf.sigmoid(z));
};

const KERNELS: Record<string, Fn> = {
  gemm: (a, b) => tf.matMul(a, b),
  gemv: (a, b) => tf.matMul(a, b),
  linear: (x, w, b) => tf.fused.matMul({ a: x, b: w, transposeB: true, bias: b }),
  conv3x3: (x, w) => tf.conv2d(x, w, 1, 'same'),
  conv1x1: (x, w) => tf.conv2d(x, w, 1, 'same'),
  attention: (q, k, v) => attention(q, k, v),
  softmax: (x) => tf.softmax(x),
  layer_norm: layerNorm,
  group_norm_silu: groupNormSilu,
  rms_norm: rmsNorm,
  chain: (x, a, b, c) => tf.mul(gelu(tf.add(tf.mul(x, a), b)), c),
  sum_last: (x) => tf.sum(x, -1),
  sum_all: (x) => tf.sum(x),
  transpose: (x) => tf.transpose(x),
  heads: (x) => tf.transpose(x, [1, 0, 2]),
  embedding: (table, ids) => tf.gather(table, ids),
};

/** Inputs and results of convolutions lie in another order here. */
const NHWC = [0, 2, 3, 1];
const NCHW = [0, 3, 1, 2];
const HWIO = [2, 3, 1, 0];
const orderOf = (c: Case, i: number) => (!c.kernel.startsWith('conv') ? undefined : i === 0 ? NHWC : HWIO);

const tensorOf = (x: Values, shape: number[], order?: number[]): T => {
  const dtype = x instanceof Int32Array ? 'int32' : 'float32';
  if (!order) return tf.tensor(x, shape, dtype);
  return tf.tensor(
    permute(x, shape, order),
    order.map((d) => shape[d]!),
    dtype,
  );
};

type Weights = Record<string, T>;
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
  const places = tf.range(0, L);
  const later = tf.greater(tf.expandDims(places, 0), tf.expandDims(places, 1));
  const mask = tf.mul(tf.cast(later, 'float32'), -1e9);
  const tokens = tf.gather(w[`${at}.embeddings.token_embedding.weight`], ids);
  const x = encoder(w, at, CLIP.text, tf.add(tokens, w[`${at}.embeddings.position_embedding.weight`]), mask);
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

/** Linear layers as [in, out], the patches' filter as HWIO: as a converted model has them. */
function weightsOf(tower: 'text' | 'image'): Weights {
  return Object.fromEntries(
    namesOf(tower).map((name) => {
      const shape = SHAPES.get(name)!;
      const isLinear = shape.length === 2 && !name.includes('embedding');
      return [name, tensorOf(weight(name), shape, shape.length === 4 ? HWIO : isLinear ? [1, 0] : undefined)];
    }),
  );
}

export async function open(adapter: string): Promise<Engine> {
  const name = await provideNavigator(adapter);
  await import('@tensorflow/tfjs-backend-webgpu');
  await tf.setBackend('webgpu');
  await tf.ready();
  const weights: Record<string, Weights> = {};
  const functionOf = (kernel: string): Fn => {
    if (!kernel.startsWith('clip')) return KERNELS[kernel]!;
    const isText = kernel === 'clip_text';
    const w = (weights[kernel] ??= weightsOf(isText ? 'text' : 'image'));
    return (x) => (isText ? textFeatures : imageFeatures)(w, x);
  };
  return { adapter: name, prepare: async (c, sets) => prepare(c, sets, functionOf(c.kernel)) };
}

async function prepare(c: Case, sets: number, fn: Fn): Promise<Work> {
  const isPicture = c.kernel === 'clip_image';
  const input = (i: number, set: number) =>
    tensorOf(values(c, i, set), c.inputs[i]!.shape, isPicture ? NHWC : orderOf(c, i));
  const shared = c.inputs.map(({ shared: same }, i) => (same ? input(i, 0) : undefined));
  const inputs = Array.from({ length: sets }, (_, set) => c.inputs.map((_, i) => shared[i] ?? input(i, set)));
  const run = (set: number): T => tf.tidy(() => fn(...inputs[set]!));
  const backend = tf.backend();
  return {
    call: (set) => run(set).dispose(),
    wait() {
      backend.endComputePassEncoder();
      if (backend.commandEncoder) backend.submitQueue();
      return backend.queue.onSubmittedWorkDone();
    },
    async result() {
      const y = run(0);
      const data = (await y.data()) as Float32Array;
      const { shape } = y;
      y.dispose();
      return c.kernel.startsWith('conv') ? permute(data, shape, NCHW) : data;
    },
    dispose() {
      for (const x of new Set(inputs.flat())) x.dispose();
    },
  };
}
