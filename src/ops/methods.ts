// Ops whose first argument is a tensor: each is also a method of it.
export * from './elementwise.ts';
export * from './view.ts';
export * from './reduce.ts';
export * from './concat.ts';
