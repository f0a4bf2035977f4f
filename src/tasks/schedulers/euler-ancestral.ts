// Euler's method with new noise in each step, as k-diffusion's sample_euler_ancestral. Reference: diffusers'
// EulerAncestralDiscreteScheduler.
import { SIGMAS, SigmaScheduler } from './euler.ts';
import type { Step } from './scheduler.ts';
import { interpolate, sigmasOf } from './sigmas.ts';
import { spaced } from './timesteps.ts';

export class EulerAncestralDiscreteScheduler extends SigmaScheduler<typeof SIGMAS> {
  constructor(config: object = {}) {
    super('EulerAncestralDiscreteScheduler', SIGMAS, config);
    if (this.config.prediction_type === 'sample') {
      throw this.error("prediction_type: got 'sample', want epsilon or v_prediction");
    }
  }

  protected schedule(n: number): void {
    const table = sigmasOf(this.alphas_cumprod);
    this.timesteps = spaced(this.config, n);
    this.sigmas = [...this.timesteps.map((t) => interpolate(table, t)), 0];
    this.begins();
  }

  override takes_noise(): boolean {
    return true;
  }

  protected at(index: number): Step {
    const [sigma, next] = [this.sigmas[index]!, this.sigmas[index + 1]!];
    const up = Math.sqrt((next ** 2 * (sigma ** 2 - next ** 2)) / sigma ** 2);
    const share = Math.sqrt(next ** 2 - up ** 2) / sigma; // of the noise
    return { ...this.seen(sigma), next: { sample: share, original: 1 - share, noise: up } };
  }
}
