// From logits [rows, V] to tokens, as transformers' generate does it: what is not to be chosen gets REMOVED.
import drawShader from '../../shaders/draw.wgsl';
import keepShader from '../../shaders/keep.wgsl';
import penaliseShader from '../../shaders/penalise.wgsl';
import { kernel } from '../exec/kernel.ts';
import { checkNumber, checkOptions, checkTensors } from '../tensor/check.ts';
import { op } from '../tensor/op.ts';
import { show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { scalar } from './create.ts';
import { checkFloat } from './row.ts';

const REMOVED = -3.4028234663852886e38; // the lowest f32: its probability is 0 beside any other

const draw = kernel(drawShader);
const keep = kernel(keepShader);
const penalise = kernel(penaliseShader);

/** A number as a parameter: one that is given as a scalar may differ from run to run. */
const parameter = (name: string, what: string, value: number | Tensor, dtype: 'f32' | 'u32') => {
  if (!(value instanceof Tensor)) checkNumber(name, what, value);
  const t = value instanceof Tensor ? value : scalar(value, dtype);
  if (t.base.scalar === null)
    throw new TypeError(`[${name}] ${what}: got a tensor of values, want a number or scalar(...)`);
  return t;
};

function rowsOf(name: string, logits: Tensor): Tensor {
  checkFloat(name, logits);
  if (logits.rank !== 2 || logits.size === 0) {
    throw new RangeError(`[${name}] logits: got ${show(logits.shape)}, want [rows, vocabulary]`);
  }
  return logits.to('f32').contiguous();
}

const keeping = (name: string, changes: Record<string, string>) =>
  op(
    {
      name,
      backward: null,
      dispatch: ([x, limit], y) => {
        const [rows, cols] = x!.shape as [number, number];
        return [keep({ x: x!, y }, { params: { rows, cols, limit: limit!.base }, groups: rows, changes })];
      },
    },
    ([x]) => ({ shape: x!.shape, dtype: 'f32' }),
  );
const largest = keeping('keep_largest', {});
const probable = keeping('keep_probable', { weight: 'probability', limit_of: 'limit_share', EQUALS: 'false' });

/** The k largest logits of each row, and all that equal the last of them; the others are removed. */
export const top_k = (logits: Tensor, k: number | Tensor): Tensor =>
  largest([rowsOf('top_k', logits), parameter('top_k', 'k', k, 'f32')]);

/** The fewest logits of each row whose probabilities add up to p (Holtzman et al. 2019, arXiv:1904.09751). */
export const top_p = (logits: Tensor, p: number | Tensor): Tensor =>
  probable([rowsOf('top_p', logits), parameter('top_p', 'p', p, 'f32')]);

/** Logits with at least p times the probability of the largest of their row (arXiv:2407.01082). */
export function min_p(logits: Tensor, p: number | Tensor): Tensor {
  const x = rowsOf('min_p', logits);
  const probabilities = x.softmax(-1);
  return probabilities.lt(probabilities.max(-1, true).mul(p)).where(REMOVED, x);
}

const penalised = op(
  {
    name: 'repetition_penalty',
    backward: null,
    dispatch: ([x, ids, count, penalty], y) => {
      const [rows, cols] = x!.shape as [number, number];
      const capacity = ids!.shape[1]!;
      const params = { rows, cols, capacity, count: count!.base, penalty: penalty!.base };
      return [penalise({ x: x!, ids: ids!, y }, { params, atMost: { count: capacity }, groups: rows })];
    },
  },
  ([x]) => ({ shape: x!.shape, dtype: 'f32' }),
);
/** Makes tokens less likely that are among the first `count` ids of their row; ids: i32 [rows, at least count]. */
export function repetition_penalty(
  logits: Tensor,
  ids: Tensor,
  penalty: number | Tensor,
  count?: number | Tensor,
): Tensor {
  const name = 'repetition_penalty';
  checkTensors(name, { ids });
  const x = rowsOf(name, logits);
  if (ids.rank !== 2 || ids.shape[0] !== x.shape[0] || ids.dtype !== 'i32') {
    throw new RangeError(`[${name}] ids: got ${ids.dtype} ${show(ids.shape)}, want i32 [${x.shape[0]}, tokens]`);
  }
  const known = parameter(name, 'count', count ?? ids.shape[1]!, 'u32');
  return penalised([x, ids.contiguous(), known, parameter(name, 'penalty', penalty, 'f32')]);
}

const choosing = (name: string, changes: Record<string, string>) =>
  op(
    {
      name,
      backward: null,
      dispatch: ([x, position, low, high], y) => {
        const [rows, cols] = x!.shape as [number, number];
        const params = { rows, cols, position: position!.base, seed_low: low!.base, seed_high: high!.base };
        return [draw({ x: x!, y }, { params, groups: rows, changes })];
      },
    },
    ([x]) => ({ shape: [x!.shape[0]!], dtype: 'i32' }),
  );
const drawn = choosing('draw_token', {});
const likeliest = choosing('likeliest', { choice: 'likeliest' });

/** Where a random number comes from: the same key and position give the same, on every device. */
export type Random = { seed_low: number | Tensor; seed_high: number | Tensor; position: number | Tensor };

/** A token of each row, drawn with the probabilities softmax(logits): i32 [rows], -1 where a row has a NaN. */
export function draw_token(logits: Tensor, random: Random): Tensor {
  const name = 'draw_token';
  checkOptions(name, random, '{ position: 0, seed_low: 7, seed_high: 0 }', 'random');
  const { position, seed_low, seed_high } = random;
  const numbers = Object.entries({ position, seed_low, seed_high }).map(([what, v]) => parameter(name, what, v, 'u32'));
  return drawn([rowsOf(name, logits), ...numbers]);
}

/** The likeliest token of each row, the first of equals: i32 [rows], -1 where a row has a NaN. */
export const likeliest_token = (logits: Tensor): Tensor =>
  likeliest([rowsOf('likeliest_token', logits), scalar(0, 'u32'), scalar(0, 'u32'), scalar(0, 'u32')]);
