// Parts of models as users of TensorFlow.js write them.
import * as tf from '@tensorflow/tfjs-core';

// biome-ignore lint/suspicious/noExplicitAny: a peer's tensors
export type T = any;
export type Weights = Record<string, T>;

export const layerNorm = (x: T, w: T, b: T): T => {
  const { mean, variance } = tf.moments(x, -1, true);
  const y = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
  return tf.add(tf.mul(y, w), b);
};
export const rmsNorm = (x: T, w: T): T => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5))), w);
export const gelu = (x: T): T => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
export const attention = (q: T, k: T, v: T, mask?: T): T => {
  const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(q.shape.at(-1)));
  return tf.matMul(tf.softmax(mask ? tf.add(scores, mask) : scores), v);
};

export const linearOf = (w: Weights) => (name: string, x: T) => {
  const a = tf.reshape(x, [-1, x.shape.at(-1)]);
  const y = tf.fused.matMul({ a, b: w[`${name}.weight`], bias: w[`${name}.bias`] });
  return tf.reshape(y, [...x.shape.slice(0, -1), -1]);
};
