// TensorFlow.js core on its WebGPU backend, eager, with the layouts it prefers: NHWC pictures, weights [in, out].
import * as tf from '@tensorflow/tfjs-core';
import { type Case, isModel } from '../cases.ts';
import { isTable, weight } from '../checkpoint.ts';
import { permute, type Values, values } from '../data.ts';
import type { Engine, Work } from '../engine.ts';
import { provideNavigator } from './navigator.ts';
import { MODELS } from './tfjs-models.ts';
import { attention, gelu, layerNorm, rmsNorm, type T } from './tfjs-parts.ts';

type Fn = (...x: T[]) => T;

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

/** Pictures and filters lie in another order here. */
const NHWC = [0, 2, 3, 1];
const NCHW = [0, 3, 1, 2];
const HWIO = [2, 3, 1, 0];
const isPicture = (c: Case) => /^(conv|unet|(sd_)?vae)|_image/.test(c.kernel);
const orderOf = (c: Case, i: number) => {
  if (i === 0) return isPicture(c) ? NHWC : undefined;
  return c.kernel.startsWith('conv') ? HWIO : undefined;
};

const tensorOf = (x: Values, shape: number[], order?: number[]): T => {
  const dtype = x instanceof Int32Array ? 'int32' : 'float32';
  if (!order) return tf.tensor(x, shape, dtype);
  return tf.tensor(
    permute(x, shape, order),
    order.map((d) => shape[d]!),
    dtype,
  );
};

/** Of a model: linear layers as [in, out], filters as HWIO, as a converted model has them. */
function functionOf(c: Case): { fn: Fn; weights: T[] } {
  if (!isModel(c)) return { fn: KERNELS[c.kernel]!, weights: [] };
  const w = Object.fromEntries(
    [...c.weights].map(([name, shape]) => {
      const isLinear = shape.length === 2 && !isTable(name);
      const order = shape.length === 4 ? HWIO : isLinear ? [1, 0] : undefined;
      return [name, tensorOf(weight(name, shape), [...shape], order)];
    }),
  );
  const forward = MODELS[c.kernel]!(c);
  return { fn: (...x) => forward(w, ...x), weights: Object.values(w) };
}

export async function open(adapter: string): Promise<Engine> {
  const name = await provideNavigator(adapter);
  await import('@tensorflow/tfjs-backend-webgpu');
  await tf.setBackend('webgpu');
  await tf.ready();
  return { adapter: name, prepare };
}

async function prepare(c: Case, sets: number): Promise<Work> {
  const { fn, weights } = functionOf(c);
  const input = (i: number, set: number) => tensorOf(values(c, i, set), c.inputs[i]!.shape, orderOf(c, i));
  const shared = c.inputs.map(({ shared: same }, i) => (same ? input(i, 0) : undefined));
  const inputs = Array.from({ length: sets }, (_, set) => c.inputs.map((_, i) => shared[i] ?? input(i, set)));
  const run = (set: number): T[] => [tf.tidy(() => fn(...inputs[set]!))].flat();
  const backend = tf.backend();
  return {
    call(set) {
      for (const y of run(set)) y.dispose();
    },
    wait() {
      backend.endComputePassEncoder();
      if (backend.commandEncoder) backend.submitQueue();
      return backend.queue.onSubmittedWorkDone();
    },
    async result() {
      const results = run(0);
      const [y] = results;
      const data = (await y.data()) as Float32Array;
      for (const t of results) t.dispose();
      return isPicture(c) && y.shape.length === 4 ? permute(data, y.shape, NCHW) : data;
    },
    dispose() {
      for (const x of new Set([...inputs.flat(), ...weights])) x.dispose();
    },
  };
}
