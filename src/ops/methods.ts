// The ops that are methods of Tensor: their first argument is a tensor. What takes lists or makes tensors is in index.ts.

export { argmax } from './argmax.ts';
export { scaled_dot_product_attention } from './attention.ts';
export { overwrite, pad } from './concat.ts';
export { conv2d } from './conv.ts';
export {
  abs,
  add,
  contiguous,
  cos,
  div,
  eq,
  erf,
  exp,
  floor,
  ge,
  gelu,
  gt,
  le,
  log,
  lt,
  masked_fill,
  maximum,
  minimum,
  mul,
  ne,
  neg,
  ones_like,
  quick_gelu,
  reciprocal,
  relu,
  rsqrt,
  sigmoid,
  sign,
  silu,
  sin,
  sqrt,
  square,
  sub,
  tanh,
  to,
  where,
  zeros_like,
} from './elementwise.ts';
export { embedding, gather, index_select } from './gather.ts';
export { matmul } from './matmul.ts';
export { layer_norm, normalize, rms_norm } from './norm.ts';
export { max, mean, min, sum } from './reduce.ts';
export { log_softmax, softmax } from './softmax.ts';
export {
  expand,
  flatten,
  narrow,
  permute,
  reshape,
  select,
  slice,
  split,
  squeeze,
  transpose,
  unsqueeze,
} from './view.ts';
