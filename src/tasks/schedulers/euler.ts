// Euler's method on the probability flow, Karras et al. 2022, arXiv:2206.00364, algorithm 1 without churn, where
// x = x0 + sigma noise. Reference: diffusers' EulerDiscreteScheduler.
import { linspace, predictionOf } from './alphas.ts';
import { SHARED } from './config.ts';
import { Scheduler, type SetTimesteps, type Step, type Sum } from './scheduler.ts';
import { exponential, interpolate, karras, sigmasOf, timestepOf } from './sigmas.ts';
import { spaced } from './timesteps.ts';

const SIGMA_SHARED = { ...SHARED, timestep_spacing: 'linspace' as (typeof SHARED)['timestep_spacing'] };
const DEFAULTS = {
  ...SIGMA_SHARED,
  interpolation_type: 'linear' as 'linear' | 'log_linear',
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  sigma_min: null as number | null,
  sigma_max: null as number | null,
  timestep_type: 'discrete' as 'discrete' | 'continuous',
  final_sigmas_type: 'zero' as 'zero' | 'sigma_min',
};

/** What the two samplers of this kind share. */
export abstract class SigmaScheduler<F extends typeof SIGMA_SHARED> extends Scheduler<F> {
  /** The sums of the predicted x0, and of the model's input, at a noise level. */
  protected seen(sigma: number): { input: Sum; original: Sum } {
    const { original } = predictionOf(this.config.prediction_type, 1 / (sigma * sigma + 1));
    const input = 1 / Math.sqrt(sigma * sigma + 1);
    return { input: { sample: input }, original: { sample: original.sample * input, output: original.output } };
  }

  /** As the sample begins: noise alone where the noisiest timestep is among the steps. */
  protected begins(): void {
    const most = Math.max(...this.sigmas);
    const isAll = this.config.timestep_spacing !== 'leading';
    this.init_noise_sigma = isAll ? most : Math.sqrt(most * most + 1);
  }

  protected override mixture(timestep: number): [number, number] {
    return [1, this.sigmas[this.find(timestep)]!];
  }
}

export const SIGMAS = SIGMA_SHARED;

export class EulerDiscreteScheduler extends SigmaScheduler<typeof DEFAULTS> {
  constructor(config: object = {}) {
    super('EulerDiscreteScheduler', DEFAULTS, config);
    const { use_karras_sigmas, use_exponential_sigmas } = this.config;
    if (use_karras_sigmas && use_exponential_sigmas)
      throw this.error('want one of use_karras_sigmas and use_exponential_sigmas');
  }

  protected schedule(n: number, { timesteps }: SetTimesteps): void {
    const c = this.config;
    const table = sigmasOf(this.alphas_cumprod);
    const logs = table.map(Math.log);
    const spread = c.use_karras_sigmas ? karras : c.use_exponential_sigmas ? exponential : undefined;
    const isContinuous = c.timestep_type === 'continuous' && c.prediction_type === 'v_prediction';
    if (timesteps && (spread || isContinuous))
      throw this.error('timesteps: want a number of steps: the config chooses the noise levels');
    this.timesteps = timesteps ?? spaced(c, n);
    let sigmas = this.timesteps.map((t) => interpolate(table, t));
    if (c.interpolation_type === 'log_linear') sigmas = linspace(logs.at(-1)!, logs[0]!, n + 1).map(Math.exp);
    if (spread) {
      sigmas = spread(c.sigma_max ?? sigmas[0]!, c.sigma_min ?? sigmas.at(-1)!, n);
      this.timesteps = sigmas.map((sigma) => timestepOf(sigma, logs));
    }
    if (isContinuous) this.timesteps = sigmas.slice(0, n).map((sigma) => Math.log(sigma) / 4);
    this.sigmas = [...sigmas, c.final_sigmas_type === 'zero' ? 0 : table[0]!];
    this.begins();
  }

  protected at(index: number): Step {
    const [sigma, next] = [this.sigmas[index]!, this.sigmas[index + 1]!];
    const share = next / sigma; // of the noise
    return { ...this.seen(sigma), next: { sample: share, original: 1 - share } };
  }
}
