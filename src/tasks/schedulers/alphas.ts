// The table that all schedulers share: how much of the picture is left at each timestep, in float64.
import { UserError } from '../../io/error.ts';
import type { PredictionType, SHARED } from './config.ts';

type Noise = Pick<
  typeof SHARED,
  'num_train_timesteps' | 'beta_start' | 'beta_end' | 'beta_schedule' | 'trained_betas' | 'rescale_betas_zero_snr'
>;

/** `n` numbers from `first` to `last`, both among them; of one number the first. */
export const linspace = (first: number, last: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => (i === 0 ? first : first + ((last - first) * i) / (n - 1)));

function betas({ num_train_timesteps: T, beta_start, beta_end, beta_schedule, trained_betas }: Noise): number[] {
  if (trained_betas) {
    if (trained_betas.length !== T) {
      throw new UserError(`[scheduler] trained_betas: got ${trained_betas.length}, want num_train_timesteps: ${T}`);
    }
    return [...trained_betas];
  }
  switch (beta_schedule) {
    case 'linear':
      return linspace(beta_start, beta_end, T);
    case 'scaled_linear': // of latent diffusion
      return linspace(Math.sqrt(beta_start), Math.sqrt(beta_end), T).map((b) => b * b);
    case 'squaredcos_cap_v2': {
      // arXiv:2102.09672
      const left = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return Array.from({ length: T }, (_, i) => Math.min(1 - left((i + 1) / T) / left(i / T), 0.999));
    }
  }
}

/**
 * Products of 1 - beta: x_t = sqrt(a[t]) x0 + sqrt(1 - a[t]) noise. With `rescale_betas_zero_snr` the last is 0
 * (arXiv:2305.08891, algorithm 1).
 */
export function alphasCumprod(noise: Noise): Float64Array {
  let product = 1;
  const a = Float64Array.from(betas(noise), (beta) => (product *= 1 - beta));
  if (!noise.rescale_betas_zero_snr) return a;
  const first = Math.sqrt(a[0]!);
  const last = Math.sqrt(a.at(-1)!);
  return a.map((v) => (((Math.sqrt(v) - last) * first) / (first - last)) ** 2);
}

/** sample and model output in the sum that is the predicted x0, and in the one that is the predicted noise. */
export type Prediction = { original: { sample: number; output: number }; epsilon: { sample: number; output: number } };

/** What a model's output says where x = sqrt(a) x0 + sqrt(1 - a) noise. */
export function predictionOf(type: PredictionType, a: number): Prediction {
  const [alpha, sigma] = [Math.sqrt(a), Math.sqrt(1 - a)];
  switch (type) {
    case 'epsilon':
      return { original: { sample: 1 / alpha, output: -sigma / alpha }, epsilon: { sample: 0, output: 1 } };
    case 'v_prediction':
      return { original: { sample: alpha, output: -sigma }, epsilon: { sample: sigma, output: alpha } };
    case 'sample':
      return { original: { sample: 0, output: 1 }, epsilon: { sample: 1 / sigma, output: -alpha / sigma } };
  }
}
