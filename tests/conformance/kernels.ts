// Ops with a kernel of their own in the conformance table: sums, norms, products, windows, indices.
import { concat, pad, randn, type Tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { below, EXACT, type Input, nonzero, positive, type Tolerance, within } from '../samples.ts';
import { type Case, type Spec, shapes, sizes, table } from './case.ts';

const SUMMED = { each: 2 ** -19, from: 'docs/summation.md: chains of 512 additions, 2.4e-6 at most' };
const PRODUCT = { all: 2 ** -18, from: 'docs/summation.md: 2e-6 of mean |y| at most, at any K' };
const NORMED = { all: 2 ** -20, from: 'mean and variance in f32, each a sum; relative to the largest' };
const EXP = { each: 2 ** -18, from: 'x - max rounds by 2^-19 above 32, and exp makes an absolute error relative' };
const APART = { each: 2 ** -17, all: 2 ** -125, from: 'x - max rounds by 2^-18 above 64; what is below 2^-126 is 0' };
const LOG = { all: 2 ** -21, from: 'x - max and a logarithm, of values up to 40' };
const ATTENTION = { all: 2 ** -18, from: 'two products and a softmax of scores below 10' };

const ROWS: Input[][] = shapes('5x13', '2x3', '37x67', '2x5000'); // odd, small, past a workgroup, past a segment
const CUBE: Input[][] = shapes('3x7x4', '4x3x5');
const LAYOUTS = ['plain', 'sliced', 'permuted'] as const;

type Rows = [op: (x: Tensor) => Tensor, want: (x: ref.Nd) => ref.Nd, tolerance?: Tolerance, inputs?: Input[][]];
const reduction = ([op, want, tolerance = SUMMED, inputs = ROWS]: Rows): Spec => ({
  op,
  want,
  tolerance,
  inputs,
  fill: tolerance === SUMMED ? positive : nonzero, // what cancels has no relative bound
  layouts: LAYOUTS,
});
const REDUCTIONS: Record<string, Spec> = {
  sum: { ...reduction([(x) => x.sum(-1), (x) => ref.sum(x, [-1])]), dtypes: ['f32', 'f16', 'i32'] },
  'sum of all': reduction([(x) => x.sum(), (x) => ref.sum(x)]),
  'sum of columns': reduction([(x) => x.sum([0, 2], true), (x) => ref.sum(x, [0, 2], true), SUMMED, CUBE]),
  mean: reduction([(x) => x.mean(-1), (x) => ref.mean(x, [-1])]),
  max: reduction([(x) => x.max(-1), (x) => ref.max(x, [-1]), EXACT]),
  min: reduction([(x) => x.min(-1), (x) => ref.min(x, [-1]), EXACT]),
  argmax: { ...reduction([(x) => x.argmax(-1), (x) => ref.argmax(x, -1), EXACT]), dtypes: ['f32', 'i32'] },
};

const rows = (op: Spec['op'], want: Spec['want'], tolerance: Tolerance, inputs = ROWS, weights = 0): Spec => ({
  op,
  want,
  tolerance,
  inputs: inputs.map(([x]) => [x!, ...new Array(weights).fill([(x as number[]).at(-1)!])]),
  layouts: LAYOUTS,
});
const SHORT_ROWS = ROWS.slice(0, 3);
const NORMS: Record<string, Spec> = {
  softmax: {
    ...rows(
      (x) => x.softmax(),
      (x) => ref.softmax(x),
      EXP,
    ),
    fill: within(20),
  },
  'softmax, far apart': {
    ...rows(
      (x) => x.softmax(),
      (x) => ref.softmax(x),
      APART,
      shapes('37x67'),
    ),
    fill: within(60),
    dtypes: ['f32'],
    layouts: ['plain'],
  },
  'softmax of columns': {
    ...rows(
      (x) => x.softmax(1),
      (x) => ref.softmax(x, 1),
      EXP,
      CUBE,
    ),
    fill: within(20),
  },
  log_softmax: {
    ...rows(
      (x) => x.log_softmax(),
      (x) => ref.log_softmax(x),
      LOG,
      SHORT_ROWS,
    ),
    fill: within(20),
  },
  layer_norm: rows(
    (x, w, b) => x.layer_norm(w, b),
    (x, w, b) => ref.layer_norm(x, w, b),
    NORMED,
    ROWS,
    2,
  ),
  group_norm: {
    op: (x, w, b) => x.group_norm(2, w, b),
    want: (x, w, b) => ref.group_norm(x, 2, w, b),
    tolerance: NORMED,
    inputs: shapes('2x6x3x5 6 6', '1x4x8x264 4 4'),
    layouts: LAYOUTS,
  },
  rms_norm: rows(
    (x, w) => x.rms_norm(w),
    (x, w) => ref.rms_norm(x, w),
    NORMED,
    SHORT_ROWS,
    1,
  ),
  normalize: rows(
    (x) => x.normalize(),
    (x) => ref.normalize(x),
    NORMED,
    SHORT_ROWS,
  ),
};

const PRODUCTS: Record<string, Spec> = {
  matmul: {
    op: (a, b) => a.matmul(b),
    want: ref.matmul,
    tolerance: PRODUCT,
    // odd, past a tile of 16 x 32 and a segment of 128, a row, batches that broadcast
    inputs: shapes('5x13 13x7', '17x131 131x37', '1x300 300x32', '2x3x4x5 3x5x2'),
    more: shapes('2x3 3x4', '16x32 32x40', '2x3x4 4', '2x9x260 2x260x33'),
  },
  linear: {
    op: (x, w) => x.matmul(w.transpose(0, 1)),
    want: (x, w) => ref.linear(x, w),
    tolerance: PRODUCT,
    inputs: shapes('33x136 48x136'),
    more: shapes('3x4 5x4', '9x13 7x13'),
    layouts: ['plain'],
  },
  'linear, f16 weights': {
    op: (x, w) => x.matmul(w.transpose(0, 1)),
    want: (x, w) => ref.linear(x, w),
    tolerance: PRODUCT,
    inputs: [[[9, 13], { shape: [7, 13], dtype: 'f16' }]],
    more: [[[9, 40], { shape: [12, 40], dtype: 'f16' }]],
    dtypes: ['f32'],
    layouts: ['plain'],
  },
};

const windows = (options: ref.Conv, ...[first, ...more]: Input[][]): Spec => ({
  op: (x, w, b) => x.conv2d(w, b, options),
  want: (x, w, b) => ref.conv2d(x, w, b, options),
  tolerance: PRODUCT,
  inputs: [first!],
  more,
  layouts: ['plain', 'sliced'],
});
const CONVOLUTIONS: Record<string, Spec> = {
  'conv2d, padded': windows({ padding: 1 }, sizes('2x3x5x7 4x3x3x3 4'), sizes('1x2x3x3 2x2x3x3 2')),
  'conv2d, several segments and blocks': windows({ padding: 1 }, sizes('2x17x8x12 9x17x3x3 9')),
  'conv2d of patches': windows({ stride: 4 }, sizes('2x3x9x8 5x3x4x4 5')),
  'conv2d, all': windows({ stride: 2, groups: 2, dilation: 2, padding: 2 }, sizes('1x4x7x6 6x2x3x2 6')),
};

const qkv = (queries: number, keys: number): Input[] => sizes(`2x3x${queries}x8 2x3x${keys}x8 2x3x${keys}x4`);
type Mask = (mask: ref.Nd) => ref.Nd;
const heads = (causal: boolean, inputs: Input[], more: Input[][] = [], toAdd: Mask = (mask) => mask): Spec => ({
  op: (q, k, v, attn_mask) => q.scaled_dot_product_attention(k, v, { attn_mask, is_causal: causal, scale: 0.3 }),
  want: (q, k, v, mask) => ref.attention(q, k, v, { causal, scale: 0.3, ...(mask && { mask: toAdd(mask) }) }),
  tolerance: ATTENTION,
  inputs: [inputs],
  more,
  layouts: ['plain', 'permuted'],
});
const hide = ref.map((isSeen) => (isSeen ? 0 : -1e30));
const seen: Input = { shape: [2, 1, 1, 7], dtype: 'bool', fill: (u) => Number(u > 0.2) };
const ATTENTIONS: Record<string, Spec> = {
  attention: heads(false, qkv(5, 7), [qkv(1, 1), qkv(2, 3), qkv(17, 33)]),
  'attention, causal': heads(true, qkv(7, 7), [qkv(2, 7), qkv(33, 33)]),
  'attention, mask': heads(false, [...qkv(5, 7), [5, 7]]),
  'attention, bool mask': heads(false, [...qkv(5, 7), seen], [], hide),
};

const places = (shape: number[], n: number): Input => ({ shape, dtype: 'i32', fill: below(n) });
const move = (
  op: Spec['op'],
  want: Spec['want'],
  inputs: Input[][],
  dtypes: Spec['dtypes'] = ['f32', 'f16'],
): Spec => ({
  op,
  want,
  tolerance: EXACT,
  inputs,
  dtypes,
});
const MOVES: Record<string, Spec> = {
  gather: move(
    (x, i) => x.gather(1, i),
    (x, i) => ref.gather(x, 1, i),
    [
      [[3, 5], places([3, 7], 5)],
      [[2, 8, 4], places([2, 3, 4], 8)],
    ],
  ),
  embedding: move(
    (w, ids) => ids.embedding(w),
    (w, ids) => ref.embedding(w, ids),
    [
      [[11, 3], places([2, 3], 11)],
      [[5, 8], places([7], 5)],
    ],
  ),
  concat: move(
    (a, b) => concat([a, b], 1),
    (a, b) => ref.concat([a, b], 1),
    shapes('3x4x5 3x1x5', '2x3 2x5', '9x130 9x6'),
    ['f32', 'f16', 'i32', 'bool'],
  ),
  pad: move(
    (x) => pad(x, [1, 2, -1, 1], 3),
    (x) => ref.pad(x, [1, 2, -1, 1], 3),
    shapes('3x5x7', '2x3'),
    ['f32', 'i32'],
  ),
  permute: move(
    (x) => x.permute([2, 0, 1]).contiguous(),
    (x) => ref.permute(x, [2, 0, 1]),
    shapes('5x7x9', '2x3x4', '17x12x33'),
    ['f32', 'f16', 'i32', 'bool'],
  ),
  slice: move(
    (x) => x.slice(0, 1, 5, 2).slice(-1, 1, -1).contiguous(),
    (x) => ref.slice(ref.slice(x, 0, 1, 5, 2), x.shape.length - 1, 1, x.shape.at(-1)! - 1),
    shapes('7x3x13', '5x4'),
    ['f32', 'f16', 'u32'],
  ),
};

const RANDOM: Record<string, Spec> = {
  randn: {
    op: (x) => randn(x.shape, { seed: 2 ** 33 + 7, position: 5 }),
    want: (x) => ref.randn(x.shape, 2 ** 33 + 7, 5),
    tolerance: { all: 2 ** -19, from: 'a logarithm, a root and a cosine in f32' },
    inputs: shapes('5x7', '1x4x8x8'),
    dtypes: ['f32'],
    layouts: ['plain'],
  },
};

export const kernels = (isFull: boolean): Case[] => [
  ...table('reduction', isFull, REDUCTIONS),
  ...table('softmax, norm', isFull, NORMS, 1),
  ...table('matmul', isFull, PRODUCTS, 2),
  ...table('conv2d', isFull, CONVOLUTIONS, 0),
  ...table('attention', isFull, ATTENTIONS, 0),
  ...table('attention', isFull, isFull ? {} : { 'attention of f16': { ...ATTENTIONS.attention!, dtypes: ['f16'] } }, 0),
  ...table('index, move', isFull, MOVES),
  ...table('random', isFull, RANDOM),
];
