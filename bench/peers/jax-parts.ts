// Parts of models as users of jax-js write them.
import * as jax from '@jax-js/jax';

// biome-ignore lint/suspicious/noExplicitAny: a peer's arrays
export type Array_ = any;
export type Weights = Record<string, Array_>;
const { numpy: np } = jax;

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

export const groupNorm = (x: Array_, w: Array_, b: Array_, eps = 1e-5, groups = 32) => {
  const { shape } = x;
  const centered = layerNorm(x.reshape([shape[0] * groups, -1]), np.array(1), np.array(0), eps).reshape(shape);
  return centered.mul(w.reshape([-1, 1, 1])).add(b.reshape([-1, 1, 1]));
};

export const linearOf = (w: Weights) => (name: string, x: Array_) => {
  const y = np.dot(x, w[`${name}.weight`].ref.transpose());
  const bias = w[`${name}.bias`];
  return bias ? y.add(bias.ref) : y;
};
