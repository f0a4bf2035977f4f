// How a diffusion model knows the time: sinusoids of the timestep and a small MLP (diffusers' embeddings.py).
import type { Weights } from '../io/weights.ts';
import { tensor } from '../ops/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { activation } from './activation.ts';
import { linear } from './layers.ts';

export type SinusoidOptions = {
  /** Cosines first. */
  flip_sin_to_cos?: boolean;
  downscale_freq_shift?: number;
  scale?: number;
  max_period?: number;
};

/**
 * Sines and cosines of each timestep, [N, size] f32. Angles are float64 on the host: as f32 they cost 1e-4 where a
 * timestep is in the thousands, and a device's own sine more.
 */
export function sinusoids(timesteps: readonly number[], size: number, options: SinusoidOptions = {}): Tensor {
  const { flip_sin_to_cos = false, downscale_freq_shift = 1, scale = 1, max_period = 10_000 } = options;
  const half = Math.floor(size / 2);
  const data = new Float32Array(timesteps.length * size); // an odd size ends with a zero
  const [sines, cosines] = flip_sin_to_cos ? [half, 0] : [0, half];
  for (const [n, t] of timesteps.entries()) {
    for (let i = 0; i < half; i++) {
      const angle = scale * t * max_period ** (-i / (half - downscale_freq_shift));
      data[n * size + sines + i] = Math.sin(angle);
      data[n * size + cosines + i] = Math.cos(angle);
    }
  }
  return tensor(data, [timesteps.length, size]);
}

export type TimeConfig = { act_fn: string; cond_proj_dim?: number | undefined; post_act_fn?: string | undefined };

/** linear_2(act(linear_1(x + cond_proj(condition)))): [B, inFeatures] to [B, size]. */
export function timestepEmbedding(w: Weights, inFeatures: number, size: number, c: TimeConfig) {
  const linear_1 = linear(w.at('linear_1'), inFeatures, size);
  const cond_proj = c.cond_proj_dim
    ? linear(w.at('cond_proj'), c.cond_proj_dim, inFeatures, { bias: false })
    : undefined;
  const linear_2 = linear(w.at('linear_2'), size, size);
  const act = activation(c.act_fn);
  const post_act = c.post_act_fn ? activation(c.post_act_fn) : (x: Tensor) => x;
  return (x: Tensor, condition?: Tensor) => {
    const known = cond_proj && condition ? x.add(cond_proj(condition)) : x;
    return post_act(linear_2(act(linear_1(known))));
  };
}
