// DPM-Solver++ and DPM-Solver, multistep, of order 1 to 3, as an ODE or with noise: Lu et al. 2022, arXiv:2211.01095 and
// arXiv:2206.00927. Reference: diffusers' DPMSolverMultistepScheduler.
import { linspace, type Prediction, predictionOf } from './alphas.ts';
import { SHARED, THRESHOLDED } from './config.ts';
import { Scheduler, type SetTimesteps, type Step, type Sum } from './scheduler.ts';
import { exponential, interpolate, karras, sigmasOf, timestepOf } from './sigmas.ts';
import { rint } from './timesteps.ts';

const DEFAULTS = {
  ...SHARED,
  ...THRESHOLDED,
  timestep_spacing: 'linspace' as (typeof SHARED)['timestep_spacing'],
  solver_order: 2,
  algorithm_type: 'dpmsolver++' as 'dpmsolver++' | 'sde-dpmsolver++' | 'dpmsolver' | 'sde-dpmsolver',
  solver_type: 'midpoint' as 'midpoint' | 'heun',
  lower_order_final: true,
  euler_at_final: false,
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  use_lu_lambdas: false,
  final_sigmas_type: 'zero' as 'zero' | 'sigma_min',
  lambda_min_clipped: Number.NEGATIVE_INFINITY,
};
const FEW_STEPS = 15; // below, the last steps are of lower order

/** Configs of other solvers name what this class has its own for, as in diffusers. */
const ALIASES: Record<string, string> = { deis: 'dpmsolver++', logrho: 'midpoint', bh1: 'midpoint', bh2: 'midpoint' };
const renamed = (config: object): object =>
  Object.fromEntries(Object.entries(config).map(([name, v]) => [name, /_type$/.test(name) ? (ALIASES[v] ?? v) : v]));

export class DPMSolverMultistepScheduler extends Scheduler<typeof DEFAULTS> {
  /** Whether the solver works with x0 (++), or with the noise. */
  readonly #isData: boolean;
  readonly #isNoisy: boolean;

  constructor(config: object = {}) {
    super('DPMSolverMultistepScheduler', DEFAULTS, renamed(config));
    const c = this.config;
    const chosen = [c.use_karras_sigmas, c.use_exponential_sigmas, c.use_lu_lambdas].filter(Boolean);
    if (chosen.length > 1) {
      throw this.error(
        'got several noise schedules, want one of use_karras_sigmas, use_exponential_sigmas, use_lu_lambdas',
      );
    }
    this.#isData = c.algorithm_type.endsWith('++');
    this.#isNoisy = c.algorithm_type.startsWith('sde');
    if (!this.#isData && c.final_sigmas_type === 'zero') {
      throw this.error(`final_sigmas_type: got 'zero', want 'sigma_min': ${c.algorithm_type} divides by the last one`);
    }
    if (c.algorithm_type === 'sde-dpmsolver' && c.solver_order === 3) {
      throw this.error('solver_order: got 3, want 1 or 2 for sde-dpmsolver');
    }
    this.slots = c.solver_order - 1;
    this.keeps = this.#isData ? 'original' : 'epsilon';
  }

  protected schedule(n: number, { timesteps }: SetTimesteps): void {
    const c = this.config;
    const table = sigmasOf(this.alphas_cumprod);
    const logs = table.map(Math.log);
    const spread = c.use_karras_sigmas
      ? karras
      : c.use_exponential_sigmas || c.use_lu_lambdas
        ? exponential
        : undefined;
    if (timesteps && spread) throw this.error('timesteps: want a number of steps: the config chooses the noise levels');
    this.timesteps =
      timesteps?.map(Math.trunc) ?? this.#spaced(n, logs.filter((log) => -log < c.lambda_min_clipped).length);
    let sigmas = this.timesteps.map((t) => interpolate(table, t));
    if (spread) {
      sigmas = spread(table.at(-1)!, table[0]!, n);
      const isRounded = !c.use_exponential_sigmas && c.beta_schedule !== 'squaredcos_cap_v2';
      this.timesteps = sigmas.map((sigma) => (isRounded ? rint : Math.trunc)(timestepOf(sigma, logs)));
    }
    this.num_inference_steps = this.timesteps.length;
    this.sigmas = [...sigmas, c.final_sigmas_type === 'zero' ? 0 : table[0]!];
  }

  /** As if there were a step more, which is never taken: it is the clean picture. `clipped`: the noisiest, left out. */
  #spaced(n: number, clipped: number): number[] {
    const { num_train_timesteps: T, timestep_spacing, steps_offset } = this.config;
    const last = T - clipped;
    switch (timestep_spacing) {
      case 'leading':
        return Array.from({ length: n }, (_, i) => Math.floor(last / (n + 1)) * (n - i) + steps_offset);
      case 'trailing': {
        const all = Array.from({ length: n }, (_, i) => last - i * (T / n));
        return all.filter((t) => t > 0).map((t) => rint(t) - 1);
      }
      default:
        return linspace(0, last - 1, n + 1)
          .map(rint)
          .reverse()
          .slice(0, n);
    }
  }

  override takes_noise(): boolean {
    return this.#isNoisy;
  }

  protected at(index: number): Step {
    const { prediction_type, thresholding } = this.config;
    const { original, epsilon } = predictionOf(prediction_type, alphaOf(this.sigmas[index]!));
    const { sample, weights, noise } = this.#update(index);
    const [now, ...before] = [...weights, 0, 0, 0];
    const history = Object.fromEntries(before.slice(0, this.slots).map((w, i) => [`history${i}`, w]));
    const rest: Sum = { ...history, ...(this.#isNoisy && { noise }) };
    if (this.#isData) return { original, next: { sample, original: now, ...rest } };
    const kept = thresholding ? fromLimited(this.sigmas[index]!) : epsilon;
    const folded = Object.entries(kept).map(([term, w]) => [term, w * now! + (term === 'sample' ? sample : 0)]);
    return { original, epsilon: kept, next: { ...Object.fromEntries(folded), ...rest } };
  }

  /** The order of a step: less at first, when there is no history, and at last. */
  #orderOf(index: number): number {
    const c = this.config;
    const left = this.timesteps.length - 1 - index;
    const isFew = c.lower_order_final && this.timesteps.length < FEW_STEPS;
    const most =
      left === 0 && (c.euler_at_final || isFew || c.final_sigmas_type === 'zero') ? 1 : left === 1 && isFew ? 2 : 3;
    return Math.min(c.solver_order, this.done + 1, most);
  }

  /** Coefficients of the sample, of the predictions (this one, then those before) and of new noise. */
  #update(index: number): { sample: number; weights: number[]; noise: number } {
    const order = this.#orderOf(index);
    const level = (i: number) => {
      const sigma = this.sigmas[i]!;
      const alpha = Math.sqrt(alphaOf(sigma));
      return { alpha, sigma: sigma * alpha, lambda: -Math.log(sigma) };
    };
    const [to, from] = [level(index + 1), level(index)];
    const h = to.lambda - from.lambda;
    // of the prediction, of its first and of its second derivative
    const { sample, noise, first, second, third } = this.#isData
      ? data(to, from, h, this.#isNoisy)
      : rate(to, from, h, this.#isNoisy);
    if (order === 1) return { sample, weights: [first], noise };
    const r0 = (from.lambda - level(index - 1).lambda) / h;
    if (order === 2) {
      const w = (this.config.solver_type === 'midpoint' ? first / 2 : second) / r0;
      return { sample, weights: [first + w, -w], noise };
    }
    const r1 = (level(index - 1).lambda - level(index - 2).lambda) / h;
    const [near, far] = [
      [1 / r0, -1 / r0, 0],
      [0, 1 / r1, -1 / r1],
    ] as const;
    const weights = near.map((d, k) => {
      const change = (d - far[k]!) / (r0 + r1);
      return (k === 0 ? first : 0) + second * (d + r0 * change) + third * change;
    });
    return { sample, weights, noise };
  }

  protected override mixture(timestep: number): [number, number] {
    const sigma = this.sigmas[this.find(timestep)]!;
    const alpha = Math.sqrt(alphaOf(sigma));
    return [alpha, sigma * alpha];
  }
}

/** The share of the picture at a noise level. */
const alphaOf = (sigma: number): number => 1 / (sigma * sigma + 1);

/** The noise that x0 within its limits leaves. */
function fromLimited(sigma: number): Partial<Prediction['epsilon']> & { original: number } {
  const alpha = Math.sqrt(alphaOf(sigma));
  return { sample: 1 / (sigma * alpha), original: -1 / sigma };
}

type Level = { alpha: number; sigma: number };

/** Of x0: equations 9 and 12 of arXiv:2211.01095, with noise 17 and 18. */
function data(to: Level, from: Level, h: number, isNoisy: boolean) {
  const g = isNoisy ? 2 * h : h;
  const gone = Math.expm1(-g);
  return {
    sample: (to.sigma / from.sigma) * (isNoisy ? Math.exp(-h) : 1),
    noise: to.sigma * Math.sqrt(-gone),
    first: -to.alpha * gone,
    second: to.alpha * (gone / g + 1),
    third: isNoisy ? to.alpha * ((-gone - g) / g ** 2 - 0.5) : -to.alpha * ((gone + h) / h ** 2 - 0.5),
  };
}

/** Of the noise: equations 3.5 and on of arXiv:2206.00927. */
function rate(to: Level, from: Level, h: number, isNoisy: boolean) {
  const grown = Math.expm1(h);
  const k = isNoisy ? 2 : 1;
  return {
    sample: to.alpha / from.alpha,
    noise: to.sigma * Math.sqrt(Math.expm1(2 * h)),
    first: -k * to.sigma * grown,
    second: -k * to.sigma * (grown / h - 1),
    third: -to.sigma * ((grown - h) / h ** 2 - 0.5),
  };
}
