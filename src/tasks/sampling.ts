// How a token is chosen: the processors of transformers' generate, in its order, each only where it has something to do.
import { draw_token, likeliest_token, min_p, type Random, repetition_penalty, top_k, top_p } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Names and meaning as in transformers' GenerationConfig; numbers are arguments of the step, so they may change at no cost. */
export type Sampling = {
  repetition_penalty?: number | undefined;
  temperature?: number | undefined;
  top_k?: number | undefined;
  top_p?: number | undefined;
  min_p?: number | undefined;
};
type Processor = keyof Sampling;

/** Those that change anything, in the order in which they are applied; without sampling only the penalty. */
export function processorsOf(s: Sampling & { do_sample?: boolean }, vocab_size: number): Processor[] {
  const acts: Record<Processor, boolean> = {
    repetition_penalty: (s.repetition_penalty ?? 1) !== 1,
    temperature: (s.temperature ?? 1) !== 1,
    top_k: (s.top_k ?? 0) > 0 && s.top_k! < vocab_size,
    top_p: (s.top_p ?? 1) < 1,
    min_p: (s.min_p ?? 0) > 0,
  };
  const all = Object.keys(acts) as Processor[];
  return all.filter((name) => acts[name] && (s.do_sample !== false || name === 'repetition_penalty'));
}

/** Logits [B, V] through the processors; `ids` [B, capacity] are the tokens so far, `count` of them. */
export function process(
  logits: Tensor,
  processors: readonly Processor[],
  of: Partial<Record<Processor, Tensor | number>>,
  seen?: { ids: Tensor; count: Tensor | number },
): Tensor {
  const apply: Record<Processor, (x: Tensor, value: Tensor | number) => Tensor> = {
    repetition_penalty: (x, value) => repetition_penalty(x, seen!.ids, value, seen!.count),
    temperature: (x, value) => x.div(value),
    top_k,
    top_p,
    min_p,
  };
  return processors.reduce((x, name) => apply[name](x, of[name]!), logits);
}

/** The token of each row, i32 [B]; -1 where the logits have a NaN. */
export const choose = (scores: Tensor, random?: Random): Tensor =>
  random ? draw_token(scores, random) : likeliest_token(scores);
