// DDIM run backwards, from a picture to the noise that it comes from (arXiv:2105.05233, appendix F). Reference: diffusers'
// DDIMInverseScheduler. Use it without guidance; it has no add_noise there, and none is needed.
import { CLIPPED, SHARED } from './config.ts';
import { ddim } from './ddim.ts';
import { Scheduler, type Step } from './scheduler.ts';
import { rint, spaced } from './timesteps.ts';

const DEFAULTS = { ...SHARED, ...CLIPPED, set_alpha_to_one: true };

export class DDIMInverseScheduler extends Scheduler<typeof DEFAULTS> {
  constructor(config: object = {}) {
    super('DDIMInverseScheduler', DEFAULTS, config);
  }

  protected schedule(n: number): void {
    if (this.config.timestep_spacing === 'linspace') {
      throw this.error("timestep_spacing: got 'linspace', want leading or trailing");
    }
    this.timesteps = spaced(this.config, n).map(rint).reverse();
  }

  protected at(index: number): Step {
    const { num_train_timesteps, prediction_type, set_alpha_to_one } = this.config;
    const t = this.timesteps[index]!;
    const before = t - Math.floor(num_train_timesteps / this.num_inference_steps);
    const first = set_alpha_to_one ? 1 : this.alphas_cumprod[0]!;
    return ddim(prediction_type, before >= 0 ? this.alpha(before) : first, this.alpha(t));
  }
}
