// DDIM, Song et al. 2020, arXiv:2010.02502, equation 12. Reference: diffusers' DDIMScheduler.
import { predictionOf } from './alphas.ts';
import { CLIPPED, type PredictionType, SHARED, THRESHOLDED } from './config.ts';
import { Scheduler, type Step, type StepOptions } from './scheduler.ts';
import { rint, spaced } from './timesteps.ts';

const DEFAULTS = { ...SHARED, ...CLIPPED, ...THRESHOLDED, set_alpha_to_one: true };

export class DDIMScheduler extends Scheduler<typeof DEFAULTS> {
  constructor(config: object = {}) {
    super('DDIMScheduler', DEFAULTS, config);
  }

  protected schedule(n: number): void {
    this.timesteps = spaced(this.config, n).map(rint);
  }

  override takes_noise(_index: number, { eta = 0 }: StepOptions = {}): boolean {
    return eta > 0;
  }

  protected at(index: number, { eta = 0, use_clipped_model_output = false }: StepOptions): Step {
    if (!(eta >= 0 && eta <= 1)) throw this.error(`eta: got ${eta}, want a number from 0 to 1`);
    const { num_train_timesteps, prediction_type, set_alpha_to_one } = this.config;
    const t = this.timesteps[index]!;
    const before = t - Math.floor(num_train_timesteps / this.num_inference_steps);
    const last = set_alpha_to_one ? 1 : this.alphas_cumprod[0]!;
    const a = this.alpha(t);
    const next = before >= 0 ? this.alpha(before) : last;
    const deviation = eta > 0 ? eta * Math.sqrt(((1 - next) / (1 - a)) * (1 - a / next)) : undefined;
    return ddim(prediction_type, a, next, deviation, use_clipped_model_output);
  }
}

/**
 * From the share `a` of the picture to `next`, with new noise of a deviation: the predicted x0 with as much of the predicted
 * noise as is then left. `again`: that is computed from x0 within its limits.
 */
export function ddim(type: PredictionType, a: number, next: number, deviation?: number, again = false): Step {
  const { original, epsilon } = predictionOf(type, a);
  const direction = Math.sqrt(Math.max(1 - next - (deviation ?? 0) ** 2, 0));
  const share = direction / Math.sqrt(1 - a);
  return {
    original,
    next: {
      sample: again ? share : direction * epsilon.sample,
      output: again ? 0 : direction * epsilon.output,
      original: Math.sqrt(next) - (again ? share * Math.sqrt(a) : 0),
      ...(deviation !== undefined && { noise: deviation }),
    },
  };
}
