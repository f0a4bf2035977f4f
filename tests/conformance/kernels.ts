// Ops with a kernel of their own in the conformance table: sums, norms, products, windows, indices.
import { concat, pad, type Tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { below, type Case, EXACT, type Input, nonzero, positive, type Spec, type Tolerance, table, within } from './case.ts';

const SUMMED = { each: 2 ** -19, from: 'docs/summation.md: chains of up to 512 additions, whose errors average to 2^-19.5' };
const PRODUCT = { all: 2 ** -18, from: 'docs/summation.md: (128 + k / 128) 2^-24 of sum |a b|, for k <= 300' };
const NORMED = { all: 2 ** -20, from: 'mean and variance in f32, each a sum; relative to the largest' };
const EXP = { each: 2 ** -18, from: 'x - max rounds by 2^-19 above 32, and exp makes an absolute error relative' };
const LOG = { all: 2 ** -21, from: 'x - max and a logarithm, of values up to 40' };
const ATTENTION = { all: 2 ** -18, from: 'two products and a softmax of scores below 10' };
const HALF_SCORES = { all: 2 ** -8, from: 'scores below 4 rounded to f16, and their exponentials' };

const ROWS: Input[][] = [[[3]], [[5, 13]], [[37, 67]], [[2, 5000]]]; // small, odd, past a workgroup, past a segment
const reduction = (op: (x: Tensor) => Tensor, want: (x: ref.Nd) => ref.Nd, tolerance: Tolerance = SUMMED): Spec => ({
  op,
  want,
  tolerance,
  inputs: ROWS,
  fill: tolerance === SUMMED ? positive : nonzero,
  layouts: ['plain', 'strided', 'permuted'],
});
const cube: Input[][] = [[[4, 3, 5]], [[3, 7, 4]]];
const REDUCTIONS: Record<string, Spec> = {
  sum: { ...reduction((x) => x.sum(-1), (x) => ref.sum(x, [-1])), dtypes: ['f32', 'f16', 'i32'] },
  'sum of all': reduction((x) => x.sum(), (x) => ref.sum(x)),
  'sum of columns': { ...reduction((x) => x.sum([0, 2], true), (x) => ref.sum(x, [0, 2], true)), inputs: cube },
  mean: reduction((x) => x.mean(-1), (x) => ref.mean(x, [-1])),
  max: reduction((x) => x.max(-1), (x) => ref.max(x, [-1]), EXACT),
  min: reduction((x) => x.min(-1), (x) => ref.min(x, [-1]), EXACT),
  argmax: { ...reduction((x) => x.argmax(-1), (x) => ref.argmax(x, -1), EXACT), dtypes: ['f32', 'i32'] },
};

const row = (op: Spec['op'], want: Spec['want'], tolerance: Spec['tolerance'], inputs: Input[][] = ROWS): Spec => ({
  op,
  want,
  tolerance,
  inputs,
  layouts: ['plain', 'strided', 'permuted'],
});
const withWeights = (n: number) => ROWS.map(([x]) => [x!, ...new Array(n).fill([(x as number[]).at(-1)!])]);
const NORMS: Record<string, Spec> = {
  softmax: { ...row((x) => x.softmax(), (x) => ref.softmax(x), EXP), fill: within(20) },
  'softmax of columns': { ...row((x) => x.softmax(1), (x) => ref.softmax(x, 1), EXP, cube), fill: within(20) },
  log_softmax: { ...row((x) => x.log_softmax(), (x) => ref.log_softmax(x), LOG), fill: within(20) },
  layer_norm: row((x, w, b) => x.layer_norm(w, b), (x, w, b) => ref.layer_norm(x, w, b), NORMED, withWeights(2)),
  rms_norm: row((x, w) => x.rms_norm(w), (x, w) => ref.rms_norm(x, w), NORMED, withWeights(1)),
  normalize: row((x) => x.normalize(), (x) => ref.normalize(x), NORMED),
};

const PRODUCTS: Record<string, Spec> = {
  matmul: {
    op: (a, b) => a.matmul(b),
    want: ref.matmul,
    tolerance: PRODUCT,
    inputs: [
      [[2, 3], [3, 4]],
      [[5, 13], [13, 7]],
      [[17, 131], [131, 37]], // past a tile of 16 x 32 and a segment of 128
      [[16, 32], [32, 40]],
      [[1, 300], [300, 33]], // a row
      [[2, 3, 4, 5], [3, 5, 2]], // batches broadcast
      [[2, 3, 4], [4]],
    ],
  },
  linear: {
    op: (x, w) => x.matmul(w.transpose(0, 1)),
    want: (x, w) => ref.linear(x, w),
    tolerance: PRODUCT,
    inputs: [[[3, 4], [5, 4]], [[9, 13], [7, 13]], [[33, 136], [48, 136]]],
    layouts: ['plain', 'strided'],
  },
  'linear, f16 weights': {
    op: (x, w) => x.matmul(w.transpose(0, 1)),
    want: (x, w) => ref.linear(x, w),
    tolerance: PRODUCT,
    inputs: [[[9, 40], { shape: [12, 40], dtype: 'f16' }], [[9, 13], { shape: [7, 13], dtype: 'f16' }]],
    dtypes: ['f32'],
    layouts: ['plain'],
  },
};

const windows = (options: ref.Conv, inputs: Input[][]): Spec => ({
  op: (x, w, b) => x.conv2d(w, b, options),
  want: (x, w, b) => ref.conv2d(x, w, b, options),
  tolerance: PRODUCT,
  inputs,
  layouts: ['plain', 'strided'],
});
const CONVOLUTIONS: Record<string, Spec> = {
  conv2d: windows({ padding: 1 }, [[[1, 2, 3, 3], [2, 2, 3, 3], [2]], [[2, 3, 5, 7], [4, 3, 3, 3], [4]]]),
  'conv2d of patches': windows({ stride: 4 }, [[[2, 3, 9, 8], [5, 3, 4, 4], [5]]]),
  'conv2d, stride': windows({ stride: 2, padding: 1 }, [[[1, 2, 8, 9], [3, 2, 3, 3], [3]]]),
  'conv2d, groups, dilation': windows({ groups: 2, dilation: 2, padding: 2 }, [[[1, 4, 7, 6], [6, 2, 3, 2], [6]]]),
};

const qkv = (queries: number, keys: number): Input[] => [[2, 3, queries, 8], [2, 3, keys, 8], [2, 3, keys, 4]];
const heads = ({ causal = false, scale = 0.3 }: ref.Attention, inputs: Input[][], add = (mask: ref.Nd) => mask): Spec => ({
  op: (q, k, v, attn_mask) => q.scaled_dot_product_attention(k, v, { attn_mask, is_causal: causal, scale }),
  want: (q, k, v, mask) => ref.attention(q, k, v, { causal, scale, ...(mask && { mask: add(mask) }) }),
  tolerance: ATTENTION,
  half: HALF_SCORES,
  inputs,
  layouts: ['plain', 'permuted'],
});
const hide = ref.map((isSeen) => (isSeen ? 0 : -1e30));
const seen: Input = { shape: [2, 1, 1, 7], dtype: 'bool', fill: (u) => Number(u > 0.2) };
const ATTENTIONS: Record<string, Spec> = {
  attention: heads({}, [qkv(2, 3), qkv(5, 7), qkv(17, 33)]),
  'attention, causal': heads({ causal: true, scale: 0.7 }, [qkv(7, 7), qkv(2, 7)]),
  'attention, mask': heads({}, [[...qkv(5, 7), [5, 7]]]),
  'attention, bool mask': heads({}, [[...qkv(5, 7), seen]], hide),
};

const places = (shape: number[], n: number): Input => ({ shape, dtype: 'i32', fill: below(n) });
const MOVES: Record<string, Spec> = {
  gather: {
    op: (x, i) => x.gather(1, i),
    want: (x, i) => ref.gather(x, 1, i),
    tolerance: EXACT,
    inputs: [[[3, 5], places([3, 7], 5)], [[2, 8, 4], places([2, 3, 4], 8)]],
  },
  embedding: {
    op: (w, ids) => ids.embedding(w),
    want: (w, ids) => ref.embedding(w, ids),
    tolerance: EXACT,
    inputs: [[[5, 8], places([7], 5)], [[11, 3], places([2, 3], 11)]],
  },
  concat: {
    op: (a, b) => concat([a, b], 1),
    want: (a, b) => ref.concat([a, b], 1),
    tolerance: EXACT,
    inputs: [[[2, 3], [2, 5]], [[3, 4, 5], [3, 1, 5]], [[9, 130], [9, 6]]],
    dtypes: ['f32', 'f16', 'i32', 'bool'],
  },
  pad: {
    op: (x) => pad(x, [1, 2, -1, 1], 3),
    want: (x) => ref.pad(x, [1, 2, -1, 1], 3),
    tolerance: EXACT,
    inputs: [[[2, 3]], [[3, 5, 7]]],
    dtypes: ['f32', 'i32'],
  },
  permute: {
    op: (x) => x.permute([2, 0, 1]).contiguous(),
    want: (x) => ref.permute(x, [2, 0, 1]),
    tolerance: EXACT,
    inputs: [[[2, 3, 4]], [[5, 7, 9]], [[17, 12, 33]]],
    dtypes: ['f32', 'f16', 'i32', 'bool'],
  },
  slice: {
    op: (x) => x.slice(0, 1, 5, 2).slice(-1, 1, -1).contiguous(),
    want: (x) => ref.slice(ref.slice(x, 0, 1, Math.min(5, x.shape[0]!), 2), x.shape.length - 1, 1, x.shape.at(-1)! - 1),
    tolerance: EXACT,
    inputs: [[[5, 4]], [[7, 3, 13]]],
    dtypes: ['f32', 'f16', 'u32'],
  },
};

export const kernels = (isFull: boolean): Case[] => [
  ...table('reduction', isFull, REDUCTIONS),
  ...table('softmax, norm', isFull, NORMS),
  ...table('matmul', isFull, PRODUCTS),
  ...table('conv2d', isFull, CONVOLUTIONS),
  ...table('attention', isFull, ATTENTIONS),
  ...table('index, move', isFull, MOVES),
];
