import * as ref from '../reference.ts';
import { type Input, testOp } from './harness.ts';

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
});
