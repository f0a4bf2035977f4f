// The places of extremes.
import argmaxShader from '../../shaders/argmax.wgsl';
import { kernel } from '../exec/kernel.ts';
import { checkTensors } from '../tensor/check.ts';
import { op } from '../tensor/op.ts';
import { axis, show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { overRows } from './row.ts';

const rows = kernel(argmaxShader);

/** The place in each row of the element that `beats` the others. */
function placeOfBest(name: string, beats: string) {
  const node = op(
    {
      name,
      backward: null,
      dispatch: ([x], y, _, capabilities) => [overRows(rows, [x!, y], capabilities, { changes: { beats } })],
    },
    ([x]) => ({ shape: x!.shape.slice(0, -1), dtype: 'i32' }),
  );
  return (x: Tensor, dim?: number, keepdim = false): Tensor => {
    checkTensors(name, { x });
    const source = (dim === undefined ? x.flatten() : x).to('f32');
    const d = axis(name, dim ?? 0, source.rank);
    if (source.shape[d] === 0) throw new RangeError(`[${name}] x: got ${show(x.shape)}, nothing to choose from`);
    const last = source.rank - 1;
    const y = node([source.transpose(d, last).contiguous()]);
    const places = d === last ? y : y.unsqueeze(-1).transpose(d, last).squeeze(d);
    if (!keepdim) return places;
    return dim === undefined ? places.reshape(x.shape.map(() => 1)) : places.unsqueeze(d);
  };
}

/**
 * Index of the largest element along a dimension, the first of equals, or of the first NaN; of the flattened tensor without
 * a dimension. Integers are compared as f32: told apart up to 2^24.
 */
export const argmax = placeOfBest('argmax', 'beats');
/** Index of the smallest element; see `argmax`. */
export const argmin = placeOfBest('argmin', 'is_less');
