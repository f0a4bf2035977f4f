// Pseudo numerical methods, Liu et al. 2022, arXiv:2202.09778: linear multistep (equation 12), begun by a step that is
// taken twice (as Stable Diffusion has it, `skip_prk_steps`) or by Runge-Kutta (equation 13). Reference: diffusers' PNDMScheduler.
import type { Tensor } from '../../tensor/tensor.ts';
import { predictionOf } from './alphas.ts';
import { SHARED } from './config.ts';
import { type History, Scheduler, type Step, type Sum } from './scheduler.ts';
import { rint, spaced } from './timesteps.ts';

const DEFAULTS = { ...SHARED, skip_prk_steps: false, set_alpha_to_one: false };

/** Weights of the model's output and of those before, by how many there are. */
const MULTISTEP = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]];
/** Places of the history: outputs, the newest first; the sample that a step begins at; outputs within a Runge-Kutta step. */
const [BEGIN, WITHIN] = [3, 4];
const RUNGE_KUTTA_STEPS = 12; // three of four parts

export class PNDMScheduler extends Scheduler<typeof DEFAULTS> {
  protected override keeps = 'output' as const;

  constructor(config: object = {}) {
    super('PNDMScheduler', DEFAULTS, config);
    this.slots = this.config.skip_prk_steps ? 4 : 6;
    if (this.config.prediction_type === 'sample') {
      throw this.error("prediction_type: got 'sample', want epsilon or v_prediction");
    }
  }

  protected schedule(n: number): void {
    const all = spaced(this.config, n).map(rint);
    if (this.config.skip_prk_steps) {
      this.timesteps = all.length > 1 ? [all[0]!, all[1]!, ...all.slice(1)] : all;
      return;
    }
    if (n < 4) throw this.error(`num_inference_steps: got ${n}, want at least 4, or skip_prk_steps: true`);
    const half = Math.floor(Math.floor(this.config.num_train_timesteps / n) / 2);
    const [a, b, c, d] = all as [number, number, number, number];
    const parts = [a, b, c].flatMap((t, i) => [t, [b, c, d][i]! + half, [b, c, d][i]! + half, [b, c, d][i]!]);
    this.timesteps = [...parts, ...all.slice(3)];
  }

  get #isRungeKutta(): boolean {
    return !this.config.skip_prk_steps && this.done < RUNGE_KUTTA_STEPS;
  }

  protected at(index: number): Step {
    const { original } = predictionOf(this.config.prediction_type, this.alpha(this.timesteps[index]!));
    return { original, next: this.#isRungeKutta ? this.#part(index) : this.#multistep(index) };
  }

  /** One of four evaluations of a Runge-Kutta step, all of which begin at the same sample. */
  #part(index: number): Sum {
    const part = this.done % 4;
    const step = Math.floor(this.config.num_train_timesteps / this.num_inference_steps);
    const to = this.timesteps[index]! - (part % 2 === 0 ? Math.floor(step / 2) : 0);
    const from = this.timesteps[this.done - part]!;
    if (part < 3) return this.#sum(from, to, { output: 1 }, part > 0);
    const all: Sum = { output: 1 / 6, history0: 1 / 6, history4: 1 / 3, history5: 1 / 3 };
    return this.#sum(from, to, all, true);
  }

  #multistep(index: number): Sum {
    const step = Math.floor(this.config.num_train_timesteps / this.num_inference_steps);
    const t = this.timesteps[index]!;
    const count = this.history.slice(0, BEGIN).filter((h) => h !== undefined).length;
    // the first step again, with the mean of the outputs at its two ends
    if (this.done === 1 && count === 1) return this.#sum(t + step, t, { output: 1 / 2, history0: 1 / 2 }, true);
    const [output, history0 = 0, history1 = 0, history2 = 0] = MULTISTEP[count]!;
    return this.#sum(t, t - step, { output: output!, history0, history1, history2 });
  }

  /** Equation 11, from one timestep to another with the noise that the outputs add up to; `isBegun`: not from the sample itself. */
  #sum(from: number, to: number, outputs: Sum, isBegun = false): Sum {
    const last = this.config.set_alpha_to_one ? 1 : this.alphas_cumprod[0]!;
    const a = this.alpha(Math.min(from, this.alphas_cumprod.length - 1));
    const next = to >= 0 ? this.alpha(to) : last;
    const noise = -(next - a) / (a * Math.sqrt(1 - next) + Math.sqrt(a * (1 - a) * next));
    const { epsilon } = predictionOf(this.config.prediction_type, a);
    const sample = Math.sqrt(next / a) + noise * epsilon.sample;
    const terms = ['output', ...Array.from(this.history, (_, i) => `history${i}`)] as (keyof Sum)[];
    const weights = Object.fromEntries(terms.map((term) => [term, (outputs[term] ?? 0) * noise * epsilon.output]));
    return { ...weights, sample: isBegun ? 0 : sample, [`history${BEGIN}`]: isBegun ? sample : 0 };
  }

  protected override remember(output: Tensor, sample: Tensor): History {
    const before = this.history.slice(0, BEGIN);
    const outputs = [output, ...before].slice(0, BEGIN);
    if (this.#isRungeKutta) {
      const part = this.done % 4;
      if (part === 0) return [...outputs, sample, undefined, undefined];
      return this.history.map((h, i) => (part < 3 && i === WITHIN + part - 1 ? output : h));
    }
    const rest = new Array<undefined>(this.slots - WITHIN).fill(undefined);
    if (this.done === 0) return [...outputs, sample, ...rest];
    return [...(this.done === 1 && !before[1] ? before : outputs), undefined, ...rest];
  }
}
