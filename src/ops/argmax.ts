// The place of the largest element.
import argmaxShader from '../../shaders/argmax.wgsl';
import { kernel } from '../exec/kernel.ts';
import { op } from '../tensor/op.ts';
import { axis, show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { overRows } from './row.ts';

const rows = kernel(argmaxShader);

const argmaxRows = op(
  { name: 'argmax', backward: null, dispatch: ([x], y, _, capabilities) => [overRows(rows, [x!, y], capabilities)] },
  ([x]) => ({ shape: x!.shape.slice(0, -1), dtype: 'i32' }),
);

/**
 * Index of the largest element along a dimension, the first of equals; of the flattened tensor without one. Integers are
 * compared as f32: told apart up to 2^24.
 */
export function argmax(x: Tensor, dim?: number, keepdim = false): Tensor {
  const source = (dim === undefined ? x.flatten() : x).to('f32');
  const d = axis('argmax', dim ?? 0, source.rank);
  if (source.shape[d] === 0) throw new RangeError(`[argmax] x: got ${show(x.shape)}, nothing to choose from`);
  const y = argmaxRows([source.transpose(d, source.rank - 1).contiguous()]);
  const places =
    d === source.rank - 1
      ? y
      : y
          .unsqueeze(-1)
          .transpose(d, source.rank - 1)
          .squeeze(d);
  if (!keepdim) return places;
  return dim === undefined ? places.reshape(x.shape.map(() => 1)) : places.unsqueeze(d);
}
