export * from './activation.ts';
export * from './attention.ts';
export * from './embeddings.ts';
export * from './encoder.ts';
export * from './layers.ts';
