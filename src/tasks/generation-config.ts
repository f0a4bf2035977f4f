// What generate is told: defaults, then generation_config.json, then the call. Names and meaning as in transformers.
import { UserError } from '../io/error.ts';
import type { Config } from '../io/pretrained.ts';
import { checkSignal, describe } from '../tensor/check.ts';
import { freshSeed } from './generator.ts';
import type { Sampling } from './sampling.ts';

export type GenerateOptions = Sampling & {
  /** Tokens to generate at most (256). */
  max_new_tokens?: number | undefined;
  /** Draw tokens by their probabilities; the likeliest one each time without it. */
  do_sample?: boolean | undefined;
  /** The same seed gives the same tokens, on every device with equal logits. Random by default. */
  seed?: number | undefined;
  /** Tokens that end an answer; those of the model by default. An empty list: none. */
  eos_token_id?: number | readonly number[] | undefined;
  /** What rows of a batch that are finished are filled with. */
  pad_token_id?: number | undefined;
  signal?: AbortSignal | undefined;
};

export type Generation = Required<Omit<GenerateOptions, 'signal' | 'eos_token_id'>> & {
  eos_token_id: readonly number[];
  signal: AbortSignal | undefined;
};

const DEFAULTS = { max_new_tokens: 256, do_sample: false };
const SAMPLING = { repetition_penalty: 1, temperature: 1, top_k: 50, top_p: 1, min_p: 0 };

const whole = (least: number) => (v: number) => Number.isSafeInteger(v) && v >= least;
/** Logits are divided by it in f32, and stay finite. */
const sized = (v: number) => v >= 1e-30 && v <= 1e30;
const SIZES = 'from 1e-30 to 1e30';
const RULES: Record<string, { want: string; holds(v: number): boolean }> = {
  max_new_tokens: { want: 'a whole number from 1', holds: whole(1) },
  seed: { want: 'a whole number from 0', holds: whole(0) },
  repetition_penalty: { want: `a number above 0, ${SIZES}`, holds: sized },
  temperature: { want: `a number above 0, ${SIZES}, or do_sample: false`, holds: sized },
  top_k: { want: 'a whole number; 0 for all', holds: whole(0) },
  top_p: { want: 'a number in (0, 1]', holds: (v) => v > 0 && v <= 1 },
  min_p: { want: 'a number in [0, 1]', holds: (v) => v >= 0 && v <= 1 },
  pad_token_id: { want: 'a token', holds: whole(0) },
};

/** Throws a UserError for a value that no generation can have. */
export function settle(options: GenerateOptions, file: Config, config: Config): Generation {
  const given = (name: string): unknown => {
    const asked = (options as Record<string, unknown>)[name];
    if (asked !== undefined && asked !== null) return asked;
    const value = file[name] ?? config[name] ?? undefined;
    // files hold values that nobody asked for and greedy generation never reads: pad_token_id -1, temperature 0
    const isIdle = name === 'pad_token_id' || (name in SAMPLING && given('do_sample') !== true);
    return isIdle && typeof value === 'number' && !RULES[name]!.holds(value) ? undefined : value;
  };
  const number = (name: string, otherwise: number): number => {
    const value = given(name) ?? otherwise;
    const { want, holds } = RULES[name]!;
    if (typeof value === 'number' && holds(value)) return value;
    throw new UserError(`[generate] ${name}: got ${describe(value)}, want ${want}`);
  };
  checkSignal('generate', options.signal);
  const do_sample = given('do_sample') ?? DEFAULTS.do_sample;
  if (typeof do_sample !== 'boolean')
    throw new UserError(`[generate] do_sample: got ${describe(do_sample)}, want true or false`);
  const eos_token_id = [given('eos_token_id') ?? []].flat() as number[];
  const wrong = eos_token_id.find((id) => !Number.isSafeInteger(id));
  if (wrong !== undefined) throw new UserError(`[generate] eos_token_id: got ${describe(wrong)}, want tokens`);
  const sampling = Object.entries(SAMPLING).map(([name, otherwise]) => [name, number(name, otherwise)]);
  return {
    ...(Object.fromEntries(sampling) as Required<Sampling> & Record<string, number>),
    ...{ do_sample, eos_token_id, signal: options.signal },
    max_new_tokens: number('max_new_tokens', DEFAULTS.max_new_tokens),
    seed: number('seed', freshSeed()),
    pad_token_id: number('pad_token_id', Math.max(0, eos_token_id[0] ?? 0)),
  } as Generation;
}
