// Rotary positions, Su et al. 2021, arXiv:2104.09864, with the scalings of transformers' modeling_rope_utils.
import { isLost } from '../exec/run.ts';
import { UserError } from '../io/error.ts';
import { isObject } from '../io/json.ts';
import type { Config } from '../io/pretrained.ts';
import { arange, tensor } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** cos [B, 1, L, 1, d/2] and sin [B, 1, L, 2, d/2] of each position; the first half of sin is negative. */
export type Turn = { cos: Tensor; sin: Tensor };

type Settings = { type: string; theta: number; max: number; number(name: string): number };

/** The frequencies of a type, `seq_len` tokens being there; theta is their base. */
const TYPES: Record<string, (s: Settings, size: number, seq_len: number) => number[]> = {
  default: ({ theta }, size) => frequencies(theta, size),
  linear: ({ theta, number }, size) => frequencies(theta, size).map((f) => f / number('factor')),
  /** NTK: theta grows with the tokens beyond those of the training. */
  dynamic({ theta, max, number }, size, seq_len) {
    const factor = number('factor');
    const grown = (factor * Math.max(seq_len, max)) / max - (factor - 1);
    return frequencies(theta * grown ** (size / (size - 2)), size);
  },
  /** LLaMA 3.1: long waves are slowed down, short ones kept, those between blended. */
  llama3({ theta, number }, size) {
    const factor = number('factor');
    const [low, high] = [number('low_freq_factor'), number('high_freq_factor')];
    const context = number('original_max_position_embeddings');
    return frequencies(theta, size).map((f) => {
      const turns = (context * f) / (2 * Math.PI); // in the context of the training
      const smooth = Math.min(1, Math.max(0, (turns - low) / (high - low)));
      return ((1 - smooth) * f) / factor + smooth * f;
    });
  },
};

const frequencies = (theta: number, size: number): number[] =>
  Array.from({ length: Math.ceil(size / 2) }, (_, i) => 1 / theta ** Math.fround((2 * i) / size));

/** Both spellings: `rope_parameters` with its theta, or `rope_scaling` (or null) beside `rope_theta`. */
function read(config: Config, max: number): Settings {
  const given = config.rope_scaling ?? config.rope_parameters ?? {};
  if (!isObject(given)) throw new UserError(`[config] rope_scaling: got ${JSON.stringify(given)}, want an object`);
  const known: Record<string, unknown> = {
    ...{ original_max_position_embeddings: max, rope_theta: config.rope_theta ?? 10_000 },
    ...given,
    ...(config.original_max_position_embeddings && {
      original_max_position_embeddings: config.original_max_position_embeddings,
    }),
  };
  const type = known.rope_type ?? known.type ?? 'default';
  const number = (name: string) => {
    const value = known[name];
    if (typeof value === 'number' && value > 0) return value;
    throw new UserError(`[config] ${name} of rope_type ${type}: got ${JSON.stringify(value)}, want a number above 0`);
  };
  if (typeof type !== 'string' || !Object.hasOwn(TYPES, type)) {
    throw new UserError(
      `[config] rope_type: got ${JSON.stringify(type)}, want one of ${Object.keys(TYPES).join(', ')}`,
    );
  }
  return { type, theta: number('rope_theta'), max, number };
}

/** Rotary positions of heads of `size`, as a config asks for them. */
export function rotary(config: Config, size: number, max_position_embeddings: number) {
  if (size % 2 !== 0) throw new RangeError(`[rope] head_dim: got ${size}, want an even number`);
  const settings = read(config, max_position_embeddings);
  const of = (seq_len: number) => Float32Array.from(TYPES[settings.type]!(settings, size, seq_len));
  let made = { seq_len: 0, tensor: tensor(of(0)) };
  /** Frequencies [size / 2] for so many tokens; the same tensor for all lengths but those that 'dynamic' scales. */
  const inv_freq = (tokens: number): Tensor => {
    const seq_len = settings.type === 'dynamic' && tokens > settings.max ? tokens : 0;
    if (made.seq_len !== seq_len || isLost(made.tensor)) made = { seq_len, tensor: tensor(of(seq_len)) };
    return made.tensor;
  };
  /** How far each position [B or 1, L] turns. */
  const turn = (positions: Tensor, frequency: Tensor): Turn => {
    const angle = positions.to('f32').unsqueeze(-1).mul(frequency).unsqueeze(1).unsqueeze(-2); // [B, 1, L, 1, d/2]
    const sign = arange(2, 'f32').mul(2).sub(1).unsqueeze(-1);
    return { cos: angle.cos(), sin: angle.sin().mul(sign) };
  };
  return { inv_freq, turn };
}

/** Turns pairs (i, i + d/2) of x [B, H, L, d]: (a, b) to (a cos - b sin, b cos + a sin). */
export function rotate(x: Tensor, { cos, sin }: Turn): Tensor {
  const halves = x.reshape([...x.shape.slice(0, -1), 2, -1]); // [B, H, L, 2, d/2]
  return halves.mul(cos).add(halves.flip(-2).mul(sin)).flatten(-2);
}
