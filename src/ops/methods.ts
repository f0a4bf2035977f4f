// Ops whose first argument is a tensor: each is also a method of it.

export * from './argmax.ts';
export * from './attention.ts';
export * from './bits.ts';
export * from './concat.ts';
export * from './conv.ts';
export * from './elementwise.ts';
export * from './gather.ts';
export * from './matmul.ts';
export * from './norm.ts';
export * from './reduce.ts';
export * from './softmax.ts';
export * from './view.ts';
