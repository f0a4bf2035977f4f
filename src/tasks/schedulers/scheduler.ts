// What every scheduler is: a step is sums of tensors with coefficients that the host knows beforehand in float64. So a
// whole loop is one plan, in which the coefficients are parameters, and samples and history never leave the device.
import { UserError } from '../../io/error.ts';
import { parseObject } from '../../io/json.ts';
import { locate, type ModelSource, type SourceOptions } from '../../io/locate.ts';
import { quantile, scalar, tensor } from '../../ops/index.ts';
import { checkOptions, checkTensors, describe } from '../../tensor/check.ts';
import { show } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { Generator } from '../generator.ts';
import { asTensors } from '../steps.ts';
import { alphasCumprod } from './alphas.ts';
import { type CLIPPED, readConfig, type SchedulerConfig, type SHARED, type THRESHOLDED } from './config.ts';

export const FILE = 'scheduler_config.json';

/** What a sum adds: the sample, the model's output, the predicted x0 within its limits, new noise, tensors of earlier steps. */
type Term = 'sample' | 'output' | 'original' | 'noise' | `history${number}`;
export type Sum = Partial<Record<Term, number>>;

/**
 * The sums of one step. `original` is the predicted x0 before its limits; `next` the sample of the next step. `input`: what
 * the model sees, where that is not the sample itself. The same terms at every step of a run.
 */
export type Step = { input?: Sum; original: Sum; epsilon?: Sum; denoised?: Sum; next: Sum };

export type StepOutput = {
  /** The sample of the next step. */
  prev_sample: Tensor;
  /** The predicted x0. */
  pred_original_sample: Tensor;
  /** LCM's: what the consistency function gives. */
  denoised?: Tensor;
};
/** What a recorded step gives: `kept` is what later steps read, if any do. */
export type Recorded = Record<'prev_sample' | 'pred_original_sample', Tensor> &
  Partial<Record<'denoised' | 'kept', Tensor>>;

export type StepOptions = {
  /** DDIM's share of new noise in each step: 0 (none, the default) to 1 (as DDPM). */
  eta?: number | undefined;
  /** DDIM: the noise is computed again from the x0 within its limits. */
  use_clipped_model_output?: boolean | undefined;
  /** The noise itself, of the sample's shape. */
  noise?: Tensor | undefined;
};

/** Tensors of earlier steps, in places that the class knows. */
export type History = readonly (Tensor | undefined)[];

/** Limits of the predicted x0. */
type Limits = { clip?: number } | { ratio: number; most: number };

export type SetTimesteps = {
  /** The timesteps themselves, in the place of a number of steps (Euler, DPM-Solver++, LCM). */
  timesteps?: readonly number[] | undefined;
  /** LCM: steps of the schedule that it was distilled with. */
  original_inference_steps?: number | undefined;
  /** LCM: the share of that schedule that a run passes through. */
  strength?: number | undefined;
};

export abstract class Scheduler<F extends typeof SHARED = typeof SHARED> {
  /** Fields of scheduler_config.json, as diffusers has them. */
  readonly config: SchedulerConfig<F>;
  /** How much of the picture is left at each trained timestep. */
  readonly alphas_cumprod: Float64Array;
  /** What the model is told at each step, the first step first. Not always whole numbers. */
  timesteps: readonly number[] = [];
  /** Noise levels at each step and behind the last, where the class works with them. */
  sigmas: readonly number[] = [];
  /** What noise of deviation 1 is multiplied by to be the first sample. */
  init_noise_sigma = 1;
  num_inference_steps = 0;
  /** How many tensors of earlier steps a step may read. */
  protected slots = 0;
  /** Which result of a step later steps read. */
  protected keeps: 'original' | 'output' | 'epsilon' = 'original';
  /** Tensors of earlier steps that later ones read: compute them together with `prev_sample`. */
  history: History = [];
  /** Steps of this run that are done, and the place of the next. */
  protected done = 0;
  #next = 0;
  #begin: number | undefined;
  #generator: Generator | undefined;

  protected constructor(name: string, defaults: F, config: unknown) {
    this.config = readConfig(name, defaults, config);
    this.alphas_cumprod = alphasCumprod(this.config);
  }

  /** A scheduler of this class with the settings of a parsed scheduler_config.json, or of another scheduler. */
  static from_config<T>(this: new (config: object) => T, config: object): T {
    return new this(config);
  }

  /** The same from a folder or an id of the hub, in whose `subfolder` the file is. */
  static async from_pretrained<T>(
    this: new (
      config: object,
    ) => T,
    from: ModelSource,
    options: SourceOptions = {},
  ): Promise<T> {
    return new this(await readSchedulerConfig(from, options));
  }

  /** Chooses the timesteps of a run of `n` steps and forgets what an earlier run left. */
  set_timesteps(n: number | undefined, options: SetTimesteps = {}): void {
    checkOptions('scheduler', options, '{ timesteps: [999, 499] }');
    const T = this.config.num_train_timesteps;
    const given = options.timesteps;
    const count = n ?? given?.length;
    if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 1 || count > T) {
      throw this.error(`num_inference_steps: got ${describe(count)}, want a whole number from 1 to ${T}`);
    }
    if (given && (given.length !== count || !given.every((t, i) => t >= 0 && t < T && !(t >= given[i - 1]!)))) {
      throw this.error(`timesteps: got ${describe(given)}, want ${count} numbers below ${T} in descending order`);
    }
    this.num_inference_steps = count;
    this.schedule(count, options);
    this.#begin = undefined;
    this.#restart(0);
  }

  /** Where a run begins that takes only the last of the timesteps, as of a picture that is changed. */
  set_begin_index(index = 0): void {
    this.#place(index);
    this.#begin = index;
    this.#restart(index);
  }

  #restart(index: number): void {
    this.#next = index;
    this.done = 0;
    this.history = new Array<undefined>(this.slots).fill(undefined);
  }

  /** Sets `timesteps`, and what else belongs to them. */
  protected abstract schedule(n: number, options: SetTimesteps): void;
  /** The coefficients of the step at a place. */
  protected abstract at(index: number, options: StepOptions): Step;
  /** Whether the step at a place draws new noise. */
  takes_noise(_index: number, _options: StepOptions = {}): boolean {
    return false;
  }
  /** The history behind a step: by default what was kept, then the others, the oldest left out. */
  protected remember(kept: Tensor, _sample: Tensor): History {
    return [kept, ...this.history].slice(0, this.slots);
  }
  protected limits(): Limits {
    const c = this.config as Partial<typeof CLIPPED & typeof THRESHOLDED>;
    if (c.thresholding) return { ratio: c.dynamic_thresholding_ratio!, most: c.sample_max_value! };
    return c.clip_sample ? { clip: c.clip_sample_range! } : {};
  }
  protected error(text: string): UserError {
    return new UserError(`[${this.config._class_name}] ${text}`);
  }

  /** The sample as the model wants it at a timestep. */
  scale_model_input(sample: Tensor, timestep: number): Tensor {
    const { input } = this.at(this.#indexOf(timestep), {});
    return input ? sample.mul(input.sample!) : sample;
  }

  /**
   * One step, from what the model says about `sample` [B, ...] at `timestep`, one of `timesteps`, to the less noisy sample.
   * Noise, where the step wants any, is `noise`, or drawn from `generator`, or at random.
   */
  step(
    model_output: Tensor,
    timestep: number,
    sample: Tensor,
    { generator, ...options }: StepOptions & { generator?: Generator | undefined } = {},
  ): StepOutput {
    checkTensors(this.config._class_name, { model_output, sample });
    if (show(model_output.shape) !== show(sample.shape)) {
      throw this.error(`model_output: got ${show(model_output.shape)}, want the sample's ${show(sample.shape)}`);
    }
    const index = this.#indexOf(timestep);
    if (this.takes_noise(index, options) && !options.noise) {
      this.#generator ??= new Generator();
      options.noise = (generator ?? this.#generator).randn(sample.shape);
    }
    const result = this.combine(asTensors(this.inputs(index, sample, options)), model_output);
    this.accept(result, sample);
    const { kept: _, ...output } = result;
    return output;
  }

  /**
   * All that the step at a place reads beside the model's output: tensors, and coefficients that are arguments of a
   * compiled step. The names are the same at every step of a run: where there is no history yet, or no noise is drawn,
   * the sample stands in with the coefficient 0.
   */
  inputs(index: number, sample: Tensor, options: StepOptions = {}): Record<string, Tensor | number> {
    const step = this.at(this.#place(index), options);
    const { noise } = options;
    if (noise && show(noise.shape) !== show(sample.shape)) {
      throw this.error(`noise: got ${show(noise.shape)}, want the sample's ${show(sample.shape)}`);
    }
    const tensors: Record<string, Tensor> = { sample };
    if ('noise' in step.next) tensors.noise = noise ?? sample;
    for (const i of this.history.keys()) tensors[`history${i}`] = this.history[i] ?? sample;
    const numbers: Record<string, number> = {};
    for (const [result, sum] of Object.entries(step)) {
      for (const [term, value] of Object.entries(sum) as [Term, number][]) {
        if (term === 'noise' && !noise && value !== 0)
          throw this.error('noise: got none, want a tensor: this step adds it');
        if (!Number.isFinite(value)) {
          const { prediction_type } = this.config;
          const what = `nothing is left of the picture at timestep ${this.timesteps[index]} (rescale_betas_zero_snr)`;
          throw this.error(`${what}, where ${prediction_type} says nothing: want prediction_type v_prediction`);
        }
        numbers[`${result}.${term}`] = value;
      }
    }
    return { ...tensors, ...numbers };
  }

  /** Records what the model sees. */
  scale(a: Record<string, Tensor>): Tensor {
    return a['input.sample'] ? a.sample!.mul(a['input.sample']) : a.sample!;
  }

  /** Records a step from `inputs`, all of them tensors, and the model's output. */
  combine(a: Record<string, Tensor>, output: Tensor): Recorded {
    const of: Record<string, Tensor> = { ...a, output };
    const sum = (result: string): Tensor | undefined =>
      Object.keys(a)
        .filter((name) => name.startsWith(`${result}.`))
        .map((name) => of[name.slice(result.length + 1)]!.mul(a[name]!))
        .reduce<Tensor | undefined>((total, part) => total?.add(part) ?? part, undefined);
    of.original = limited(sum('original')!, this.limits());
    const [epsilon, denoised] = [sum('epsilon'), sum('denoised')];
    return {
      prev_sample: sum('next')!,
      pred_original_sample: of.original,
      ...(denoised && { denoised }),
      ...(this.slots > 0 && { kept: this.keeps === 'epsilon' ? epsilon! : of[this.keeps]! }),
    };
  }

  /** Takes note of a step that was made of `sample`. Gives back the tensors that no later step reads. */
  accept({ kept }: { kept?: Tensor }, sample: Tensor): Tensor[] {
    const before = [...this.history, sample, kept];
    if (kept) this.history = this.remember(kept, sample);
    this.done++;
    this.#next++;
    return [...new Set(before)].filter((t) => t !== undefined && !this.history.includes(t)) as Tensor[];
  }

  /** A noisy sample as it is at a timestep, of `timesteps` where the class works with those: of all rows, or of each row. */
  add_noise(original_samples: Tensor, noise: Tensor, timesteps: number | readonly number[]): Tensor {
    return this.#mix('add_noise', original_samples, noise, timesteps, (t) => this.mixture(t));
  }

  /** The velocity that v_prediction predicts. */
  get_velocity(sample: Tensor, noise: Tensor, timesteps: number | readonly number[]): Tensor {
    return this.#mix('get_velocity', sample, noise, timesteps, (t) => {
      const a = this.alpha(t);
      return [-Math.sqrt(1 - a), Math.sqrt(a)];
    });
  }

  /** Coefficients of x0 and noise in a sample at a timestep. */
  protected mixture(timestep: number): [number, number] {
    const a = this.alpha(timestep);
    return [Math.sqrt(a), Math.sqrt(1 - a)];
  }

  protected alpha(timestep: number): number {
    const a = this.alphas_cumprod[timestep];
    if (a !== undefined) return a;
    const last = this.alphas_cumprod.length - 1;
    throw this.error(`timesteps: got ${describe(timestep)}, want whole numbers from 0 to ${last}`);
  }

  #mix(
    where: string,
    x: Tensor,
    noise: Tensor,
    timesteps: number | readonly number[],
    parts: (t: number) => [number, number],
  ): Tensor {
    checkTensors(where, { sample: x, noise });
    const list = typeof timesteps === 'number' ? [timesteps] : timesteps;
    if (!Array.isArray(list) || (list.length !== 1 && list.length !== x.shape[0])) {
      const got = timesteps instanceof Tensor ? 'a tensor: give [...(await timesteps.data())]' : describe(timesteps);
      throw this.error(`timesteps: got ${got}, want a number, or one for each of ${x.shape[0]} rows`);
    }
    const of = list.map((t) => parts(t));
    const shape = [of.length, ...new Array<number>(x.rank - 1).fill(1)];
    const [left, right] = [0, 1].map((k) =>
      of.length === 1
        ? scalar(of[0]![k]!)
        : tensor(
            of.map((part) => part[k]!),
            shape,
          ),
    );
    return x.mul(left!).add(noise.mul(right!));
  }

  /** The place of a timestep: the next one, or where it stands; of two the second, so that none is skipped from the middle. */
  #indexOf(timestep: number): number {
    if (this.timesteps[this.#next] === timestep) return this.#next;
    return (this.#next = this.find(timestep));
  }

  protected find(timestep: number): number {
    const places = [...this.timesteps.keys()].filter((i) => this.timesteps[i] === timestep);
    const place = places[1] ?? places[0];
    if (place !== undefined) return place;
    const want = this.timesteps.length > 0 ? `one of ${describe(this.timesteps)}` : 'set_timesteps to be called first';
    throw this.error(`timestep: got ${describe(timestep)}, want ${want}`);
  }

  /** Where a run begins, and noise is added for. */
  protected get begin(): number | undefined {
    return this.#begin;
  }

  #place(index: number): number {
    if (Number.isInteger(index) && index >= 0 && index < this.timesteps.length) return index;
    const want = this.timesteps.length > 0 ? `0 to ${this.timesteps.length - 1}` : 'set_timesteps to be called first';
    throw this.error(`step: got ${describe(index)}, want ${want}`);
  }
}

/** x0 within a range, or by dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, section 2.3). */
function limited(x: Tensor, limits: Limits): Tensor {
  if ('ratio' in limits) {
    const rows = x.reshape([x.shape[0]!, -1]);
    const s = quantile(rows.abs(), limits.ratio, -1, true).maximum(1).minimum(limits.most);
    return rows.maximum(s.neg()).minimum(s).div(s).reshape(x.shape);
  }
  return limits.clip === undefined ? x : x.maximum(-limits.clip).minimum(limits.clip);
}

/** The parsed file of a folder or of an id of the hub. */
export async function readSchedulerConfig(from: ModelSource, options: SourceOptions = {}): Promise<object> {
  const { folder } = await locate(from, options);
  const text = await folder.text(FILE);
  // Python writes infinities, of which JSON knows nothing; they are defaults
  if (text !== undefined) return parseObject(text.replace(/:\s*(-?Infinity|NaN)\b/g, ': null'), FILE);
  throw new UserError(
    `[scheduler] no ${FILE} in ${folder.name}: want { subfolder: 'scheduler' } of a diffusers folder?`,
  );
}
