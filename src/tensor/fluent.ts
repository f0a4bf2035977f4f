// The ops of ops/methods.ts are methods too: x.softmax(-1). ops/index.ts attaches them, this types them.
import type * as methods from '../ops/methods.ts';

type Methods<T> = {
  // biome-ignore lint/suspicious/noExplicitAny: naming Tensor here would make it its own base
  [K in keyof T]: T[K] extends (x: any, ...rest: infer R) => infer Y ? (...rest: R) => Y : never;
};
export type Fluent = Methods<typeof methods>;
