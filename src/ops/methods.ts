// Ops that are methods of Tensor too: the first argument of each is a tensor. What a file has for other ops alone is not here.
export * from './argmax.ts';
export * from './attention.ts';
export * from './contiguous.ts';
export * from './conv.ts';
export * from './elementwise.ts';
export * from './gather.ts';
export { matmul } from './matmul.ts';
export * from './norm.ts';
export * from './overwrite.ts';
export * from './pad.ts';
export * from './quantile.ts';
export * from './reduce.ts';
export * from './softmax.ts';
export * from './view.ts';
