// scheduler_config.json, read as diffusers reads it: what a class does not know is left alone, what it knows must make sense.
import { UserError } from '../../io/error.ts';
import { isObject } from '../../io/json.ts';
import { describe } from '../../tensor/check.ts';

type Value = number | boolean | string | readonly number[] | null;
export type Fields = Record<string, Value>;

/**
 * A config as a scheduler has it: every field with its value. `_use_default_values`: what nobody gave, with the value that
 * the class took: in another class it is as open again, unless it was given another value since.
 */
export type SchedulerConfig<F extends object = typeof SHARED> = F & {
  _class_name: string;
  _use_default_values: Readonly<Record<string, Value>>;
};

/** What all schedulers here have, with diffusers' defaults. */
export const SHARED = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: 'linear' as 'linear' | 'scaled_linear' | 'squaredcos_cap_v2',
  trained_betas: null as readonly number[] | null,
  rescale_betas_zero_snr: false,
  prediction_type: 'epsilon' as PredictionType,
  timestep_spacing: 'leading' as 'leading' | 'trailing' | 'linspace',
  steps_offset: 0,
};
/** What a model predicts: the noise, the velocity sqrt(a) noise - sqrt(1 - a) x0 (arXiv:2202.00512), or x0 itself. */
export type PredictionType = 'epsilon' | 'v_prediction' | 'sample';

/** Limits of the predicted x0, of those classes that have them. */
export const CLIPPED = { clip_sample: true, clip_sample_range: 1 };
export const THRESHOLDED = { thresholding: false, dynamic_thresholding_ratio: 0.995, sample_max_value: 1 };

/** Fields with few values; `null` stands for one that a class may leave open. */
const CHOICES: Record<string, readonly Value[]> = {
  beta_schedule: ['linear', 'scaled_linear', 'squaredcos_cap_v2'],
  prediction_type: ['epsilon', 'v_prediction', 'sample'],
  timestep_spacing: ['leading', 'trailing', 'linspace'],
  final_sigmas_type: ['zero', 'sigma_min'],
  interpolation_type: ['linear', 'log_linear'],
  timestep_type: ['discrete', 'continuous'],
  algorithm_type: ['dpmsolver++', 'sde-dpmsolver++', 'dpmsolver', 'sde-dpmsolver'],
  solver_type: ['midpoint', 'heun'],
  solver_order: [1, 2, 3],
};
/** What configs of diffusers may ask for and nothing here does: only the value that changes nothing will do. */
const ABSENT: Fields = { use_beta_sigmas: false, use_flow_sigmas: false, variance_type: null };

const RULES: Record<string, { want: string; holds(v: number): boolean }> = {
  num_train_timesteps: { want: 'a whole number from 2', holds: (v) => Number.isSafeInteger(v) && v >= 2 && v <= 1e6 },
  original_inference_steps: { want: 'a whole number from 1', holds: (v) => Number.isSafeInteger(v) && v >= 1 },
  steps_offset: { want: 'a whole number', holds: Number.isSafeInteger },
  beta_start: { want: 'a number in (0, 1)', holds: (v) => v > 0 && v < 1 },
  beta_end: { want: 'a number in (0, 1)', holds: (v) => v > 0 && v < 1 },
  clip_sample_range: { want: 'a number above 0', holds: (v) => v > 0 },
  sample_max_value: { want: 'a number from 1', holds: (v) => v >= 1 },
  dynamic_thresholding_ratio: { want: 'a number in [0, 1]', holds: (v) => v >= 0 && v <= 1 },
  timestep_scaling: { want: 'a number above 0', holds: (v) => v > 0 },
  sigma_min: { want: 'a number above 0', holds: (v) => v > 0 },
  sigma_max: { want: 'a number above 0', holds: (v) => v > 0 },
};

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

/** What a field may be, or undefined where the value fits. */
function misfit(name: string, value: unknown, otherwise: Value): string | undefined {
  if (name in CHOICES)
    return CHOICES[name]!.includes(value as Value) ? undefined : `one of ${CHOICES[name]!.join(', ')}`;
  if (name === 'trained_betas') {
    const fits = Array.isArray(value) && value.length > 1 && value.every((v) => isNumber(v) && v >= 0 && v < 1);
    return fits ? undefined : 'a list of numbers in [0, 1)';
  }
  if (typeof otherwise === 'boolean') return typeof value === 'boolean' ? undefined : 'true or false';
  const { want, holds } = RULES[name] ?? { want: 'a number', holds: () => true };
  return isNumber(value) && holds(value) ? undefined : want;
}

/** `defaults` with what `given` has of them. Throws a UserError for a value that no scheduler of the class can have. */
export function readConfig<F extends object>(where: string, defaults: F, given: unknown): SchedulerConfig<F> {
  if (!isObject(given)) throw new UserError(`[${where}] config: got ${describe(given)}, want an object of settings`);
  for (const [name, idle] of Object.entries(ABSENT)) {
    const value = given[name] ?? idle;
    if (value !== idle) throw new UserError(`[${where}] ${name}: got ${describe(value)}, which is not supported here`);
  }
  const open = isObject(given._use_default_values) ? given._use_default_values : {};
  const result: Record<string, unknown> = Object.fromEntries(Object.entries(defaults));
  const silent: Record<string, Value> = {};
  for (const [name, otherwise] of Object.entries(defaults) as [string, Value][]) {
    const value = given[name] ?? null;
    if (value === null || (Object.hasOwn(open, name) && open[name] === value)) {
      silent[name] = otherwise;
      continue;
    }
    const want = misfit(name, value, otherwise);
    if (want) throw new UserError(`[${where}] ${name}: got ${describe(value)}, want ${want}`);
    result[name] = value;
  }
  return { ...(result as unknown as F), _class_name: where, _use_default_values: silent };
}
