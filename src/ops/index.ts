// Every op. Those of methods.ts become methods of Tensor: x.softmax(-1) is softmax(x, -1).
import { Tensor } from '../tensor/tensor.ts';
import * as methods from './methods.ts';

export { concat, concat as cat, stack } from './concat.ts';
export { full, type Nested, ones, scalar, tensor, zeros } from './create.ts';
export { arange } from './elementwise-family.ts';
export * from './methods.ts';
export { type RandnOptions, randn } from './random.ts';
export { draw_token, likeliest_token, min_p, type Random, repetition_penalty, top_k, top_p } from './sampling.ts';

for (const [name, fn] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: never[]) {
      return (fn as (x: Tensor, ...rest: never[]) => unknown)(this, ...rest);
    },
  });
}
