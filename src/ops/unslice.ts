// What the gradient of a slice is.
import { axis } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { concat } from './concat.ts';
import { full } from './create.ts';
import { pad } from './pad.ts';

/** The opposite of a slice: x at start, start + step, ... of a dimension of `size`, zeros elsewhere. */
export function unslice(x: Tensor, dim: number, start: number, step: number, size: number): Tensor {
  const d = axis('unslice', dim, x.rank);
  const gaps = full([...x.shape.slice(0, d + 1), step - 1, ...x.shape.slice(d + 1)], 0, x.dtype);
  const spaced = step === 1 ? x : concat([x.unsqueeze(d + 1), gaps], d + 1).flatten(d, d + 1);
  const around = [start, size - start - spaced.shape[d]!];
  return pad(spaced, [...new Array(2 * (x.rank - 1 - d)).fill(0), ...around]);
}
