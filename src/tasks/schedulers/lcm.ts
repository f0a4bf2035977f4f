// Latent consistency models, Luo et al. 2023, arXiv:2310.04378, algorithm 3. Reference: diffusers' LCMScheduler.
import { predictionOf } from './alphas.ts';
import { CLIPPED, SHARED, THRESHOLDED } from './config.ts';
import { Scheduler, type SetTimesteps, type Step } from './scheduler.ts';

const DEFAULTS = {
  ...SHARED,
  ...CLIPPED,
  ...THRESHOLDED,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear' as (typeof SHARED)['beta_schedule'],
  clip_sample: false,
  set_alpha_to_one: true,
  original_inference_steps: 50,
  timestep_scaling: 10,
};
const DEVIATION = 0.5; // of the data, in the boundary condition

export class LCMScheduler extends Scheduler<typeof DEFAULTS> {
  constructor(config: object = {}) {
    super('LCMScheduler', DEFAULTS, config);
  }

  protected schedule(n: number, options: SetTimesteps): void {
    const { original_inference_steps = this.config.original_inference_steps, timesteps, strength = 1 } = options;
    const T = this.config.num_train_timesteps;
    if (timesteps) {
      this.timesteps = timesteps.slice(Math.max(n - Math.trunc(n * strength), 0));
      return;
    }
    if (!(original_inference_steps >= 1 && original_inference_steps <= T)) {
      throw this.error(`original_inference_steps: got ${original_inference_steps}, want 1 to ${T}`);
    }
    const step = Math.floor(T / original_inference_steps);
    const count = Math.trunc(original_inference_steps * strength); // of the schedule that the model was distilled with
    if (n > count) {
      const want = `at most ${count}: original_inference_steps ${original_inference_steps} x strength ${strength}`;
      throw this.error(`num_inference_steps: got ${n}, want ${want}`);
    }
    this.timesteps = Array.from({ length: n }, (_, i) => (count - Math.floor((i * count) / n)) * step - 1);
  }

  override takes_noise(index: number): boolean {
    return index !== this.num_inference_steps - 1;
  }

  protected at(index: number): Step {
    const t = this.timesteps[index]!;
    const a = this.alpha(t);
    const next = this.alpha(this.timesteps[index + 1] ?? t);
    const scaled = t * this.config.timestep_scaling;
    const skip = DEVIATION ** 2 / (scaled ** 2 + DEVIATION ** 2);
    const out = scaled / Math.sqrt(scaled ** 2 + DEVIATION ** 2);
    const [left, noise] = this.takes_noise(index) ? [Math.sqrt(next), Math.sqrt(1 - next)] : [1, 0];
    return {
      original: predictionOf(this.config.prediction_type, a).original,
      denoised: { original: out, sample: skip },
      next: { original: left * out, sample: left * skip, noise },
    };
  }
}
