import { describe, expect, it } from 'vitest';
import { estimate } from '../../src/exec/estimate.ts';
import { full, grad, type Tensor, tensor } from '../../src/index.ts';
import type { AttentionOptions } from '../../src/ops/attention.ts';
import { byQueries } from '../../src/ops/attention-pieces.ts';
import * as ref from '../reference.ts';
import { expectClose, type Input, randomNd, testOp, upload } from './harness.ts';

const SUMMED = { all: 2 ** -18, from: 'two products and a softmax of scores below 10' };
const qkv = (queries = 5, keys = 7): Input[] => [
  [2, 3, queries, 8],
  [2, 3, keys, 8],
  [2, 3, keys, 4],
];
const SMALL: Input[] = [
  [2, 3, 4],
  [2, 3, 4],
  [2, 3, 2],
];

testOp('attention', {
  op: (q, k, v) => q.scaled_dot_product_attention(k, v),
  reference: (q, k, v) => ref.attention(q, k, v),
  inputs: [qkv(), qkv(16, 33)],
  tolerance: SUMMED,
  layouts: ['plain', 'permuted'],
  grad: SMALL,
});
testOp('causal attention', {
  op: (q, k, v) => q.scaled_dot_product_attention(k, v, { is_causal: true, scale: 0.7 }),
  reference: (q, k, v) => ref.attention(q, k, v, { causal: true, scale: 0.7 }),
  inputs: [qkv(7, 7), qkv(2, 7)],
  tolerance: SUMMED,
  layouts: ['plain'],
  grad: SMALL,
});
testOp('attention with a mask to add', {
  op: (q, k, v, mask) => q.scaled_dot_product_attention(k, v, { attn_mask: mask }),
  reference: (q, k, v, mask) => ref.attention(q, k, v, { mask }),
  inputs: [[...qkv(), [5, 7]]],
  tolerance: SUMMED,
  layouts: ['plain'],
  grad: [...SMALL, [3, 3]],
});
testOp('attention with a mask of booleans', {
  op: (q, k, v, mask) => q.scaled_dot_product_attention(k, v, { attn_mask: mask }),
  reference: (q, k, v, mask) => ref.attention(q, k, v, { mask: ref.map((m) => (m ? 0 : -1e30))(mask) }),
  inputs: [[...qkv(), { shape: [2, 1, 1, 7], dtype: 'bool', fill: (u) => Number(u > 0.2) }]],
  tolerance: SUMMED,
  layouts: ['plain'],
  grad: [...SMALL, { shape: [3, 3], dtype: 'bool', fill: (u) => Number(u > 0.3) }],
});

const heads = (k: number): Input[] => [
  [2, 4, 3, 4],
  [2, k, 5, 4],
  [2, k, 5, 2],
];
/** Each head of k and v as often as heads of q share it. */
const repeated = (x: ref.Nd): ref.Nd => {
  const [B, H, ...size] = x.shape as [number, number, number, number];
  return ref.nd([B, 4, ...size], ([b, h, ...at]) => ref.at(x, [b!, Math.floor((h! * H) / 4), ...at]));
};
testOp('attention of grouped heads', {
  op: (q, k, v, mask) => q.scaled_dot_product_attention(k, v, { attn_mask: mask, is_causal: true, enable_gqa: true }),
  reference: (q, k, v, mask) => ref.attention(q, repeated(k), repeated(v), { mask, causal: true }),
  inputs: [
    [...heads(2), [2, 1, 3, 5]],
    [...heads(1), [3, 5]],
    [...heads(2), [4, 3, 5]],
  ],
  tolerance: SUMMED,
  layouts: ['plain', 'permuted'],
  grad: [...heads(2), [2, 1, 3, 5]],
});

describe('a query that sees nothing', () => {
  const [q, k, v] = [1, 2, 3].map((seed) => upload(randomNd([3, 4], seed)));
  it.each([
    ['by booleans', { attn_mask: tensor([[true], [false], [true]]).expand([3, 3]) }, 1],
    ['by -inf', { attn_mask: tensor([[0], [Number.NEGATIVE_INFINITY], [0]]).expand([3, 3]) }, 1],
    ['by cause, with more queries than keys', { is_causal: true }, 0],
  ])('%s gives its query no gradient', async (_, options, row) => {
    const short = 'is_causal' in options;
    const keys = short ? k!.narrow(0, 0, 2) : k!;
    const values = short ? v!.narrow(0, 0, 2) : v!;
    const y = q!.scaled_dot_product_attention(keys, values, options);
    const dq = (await grad(y.square().sum(), [q!])[0]!.tolist()) as number[][];
    expect(dq[row]).toEqual([0, 0, 0, 0]);
    expect(dq[2]!.some((d) => d !== 0)).toBe(true);
  });
});

describe('attention some queries at a time', () => {
  const [q, k, v] = qkv(7, 9).map((shape, i) => upload(randomNd(shape as number[], i))) as [Tensor, Tensor, Tensor];
  const whole = (q: Tensor, k: Tensor, v: Tensor, o: AttentionOptions) => q.scaled_dot_product_attention(k, v, o);
  const mask = upload(randomNd([2, 3, 7, 9], 5));
  it.each([
    ['all keys', {}],
    ['causal', { is_causal: true }],
    ['a mask', { attn_mask: mask, is_causal: true }],
  ])('has the same bits: %s', async (_, options) => {
    const pieces = byQueries(whole, [q, k, v], options, 2 * 3 * 9 * 2)!; // two queries
    const all = whole(q, k, v, options);
    const [got, want] = [pieces, all].map((y) => grad(y.mul(y).sum(), [q, k, v])) as [Tensor[], Tensor[]];
    expect(await pieces.data()).toEqual(await all.data());
    for (const [i, g] of got.entries()) {
      const data = Float64Array.from(await want[i]!.data());
      await expectClose(g, { shape: g.shape, data }, { all: 2 ** -20, from: 'other order' });
    }
  });
  it('has no matrix of all scores, nor do its gradients', () => {
    const x = [1, 2, 3].map((n) => full([1, 8, 4096, 40], n)) as [Tensor, Tensor, Tensor];
    const y = whole(...x, {});
    expect(estimate([y]).intermediate_bytes).toBeLessThan(300e6); // 1,074e6 at once
    expect(estimate(grad(y.sum(), x)).intermediate_bytes).toBeLessThan(700e6);
  });
});

it('lays heads side by side without a copy, whole or in pieces', () => {
  const heads = (n: number) => upload(randomNd([2, 64, 3, 16], n)).transpose(1, 2);
  const [q, k, v] = [heads(1), heads(2), heads(3)];
  const side = (y: Tensor) => y.transpose(1, 2).flatten(2);
  expect(estimate([side(q.scaled_dot_product_attention(k, v))]).dispatches).toBe(3);
  const attend = (...[a, b, c, options]: Parameters<Parameters<typeof byQueries>[0]>) =>
    a.scaled_dot_product_attention(b, c, options);
  expect(estimate([side(byQueries(attend, [q, k, v], {}, 2 * 3 * 64 * 32)!)]).dispatches).toBe(6); // both scores in one
});

describe('a few queries, in one kernel, have the bits that they have among many', { timeout: 300_000 }, () => {
  const values = async (t: Tensor) => Array.from(new Int32Array((await t.contiguous().data()).slice().buffer));
  const hidden = (u: number) => Number(u > 0.3);
  // heads of q, of k, keys, sizes of rows of k and v
  it.each([
    [2, 2, 7, 8, 4],
    [6, 2, 130, 64, 64],
    [4, 1, 519, 32, 80],
    [3, 3, 260, 132, 128],
  ])('%i heads, %i of keys, %i keys, rows of %i and %i', async (H, shared, S, D, E) => {
    const L = 6;
    const q = upload(randomNd([2, H, L, D], 1)).mul(4);
    const k = upload(randomNd([2, S, shared, D], 2)).transpose(1, 2);
    const v = upload(randomNd([2, shared, S, E], 3));
    const mask = upload(randomNd([2, 1, L, S], 4, 'bool', hidden), 'bool');
    const last = tensor(Array.from({ length: L }, (_, i) => i !== 2)).unsqueeze(-1); // query 2 sees nothing
    for (const attn_mask of [undefined, mask, mask.where(last, false)]) {
      const attend = (from: number, count: number) =>
        q.narrow(2, from, count).scaled_dot_product_attention(k, v, {
          attn_mask: attn_mask && (attn_mask.rank === 4 ? attn_mask.narrow(2, from, count) : attn_mask),
          enable_gqa: true,
        });
      const all = attend(0, L);
      for (const [from, count] of [
        [0, 1],
        [1, 3],
        [4, 2],
      ] as const) {
        expect(await values(attend(from, count))).toEqual(await values(all.narrow(2, from, count)));
      }
    }
  });
});
