// Inputs that every side makes for itself from a seed: nothing but the seed travels.
import type { Case } from './cases.ts';

export type Values = Float32Array | Int32Array;
/** What an input holds: numbers in [-1, 1), ids below `limit`, or texts of CLIP. `shared`: one for all sets. */
export type Input = { shape: number[]; limit?: number; texts?: boolean; shared?: boolean };

const size = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);

/** xorshift32 (Marsaglia 2003). */
function random(seed: number): () => number {
  let s = Math.imul(seed + 1, 0x9e3779b1) | 1;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return s;
  };
}

/** Uniform numbers in [-scale, scale), on a grid of 2^-24 scale. */
export function uniform(n: number, seed: number, scale = 1): Float32Array {
  const next = random(seed);
  const x = new Float32Array(n);
  for (let i = 0; i < n; i++) x[i] = (next() >> 7) * 2 ** -24 * scale;
  return x;
}

/** Texts as OpenAI's tokenizer of CLIP gives them: a start, some words, an end, zeros up to the 77th token. */
function texts(n: number, seed: number): Int32Array {
  const next = random(seed);
  return Int32Array.from({ length: n }, (_, i) => {
    const place = i % 77;
    const words = 5 + ((seed + Math.floor(i / 77)) % 60);
    if (place === 0) return 49406;
    if (place <= words) return (next() >>> 0) % 40000;
    return place === words + 1 ? 49407 : 0;
  });
}

/** The values of input `index` in set `set` of a case. */
export function values(c: Case, index: number, set: number): Values {
  const { shape, limit, texts: isText, shared } = c.inputs[index]!;
  const seed = 1000 * (shared ? 0 : set) + index + 17;
  if (isText) return texts(size(shape), seed);
  if (!limit) return uniform(size(shape), seed);
  const next = random(seed);
  return Int32Array.from({ length: size(shape) }, () => (next() >>> 0) % limit);
}

const PAST_CACHES = 64 << 20; // bytes; larger than the last cache of common processors and GPUs
const MAX_SETS = 32;

/** How many sets of inputs take turns, so that none is found in a cache by the next call. */
export function setsOf({ inputs }: Case): number {
  const bytes = inputs.reduce((n, { shape, shared }) => n + (shared ? 0 : 4 * size(shape)), 0);
  return Math.min(MAX_SETS, Math.max(2, Math.ceil(PAST_CACHES / bytes)));
}

/** The elements of a row-major array in the order of permuted dimensions. */
export function permute<T extends Values>(x: T, shape: readonly number[], order: readonly number[]): T {
  const strides = shape.map((_, d) => size(shape.slice(d + 1)));
  const to = order.map((d) => shape[d]!);
  const steps = order.map((d) => strides[d]!);
  const y = x.slice() as T;
  const index = to.map(() => 0);
  for (let i = 0, at = 0; i < y.length; i++) {
    y[i] = x[at]!;
    for (let d = to.length - 1; d >= 0; d--) {
      at += steps[d]!;
      if (++index[d]! < to[d]!) break;
      at -= steps[d]! * to[d]!;
      index[d] = 0;
    }
  }
  return y;
}
