// Writing in place: caches and running state.
import { checkTensors } from '../tensor/check.ts';
import { op } from '../tensor/op.ts';
import { axis, show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { place } from './concat.ts';
import { scalar } from './create.ts';

const write = op(
  {
    name: 'overwrite',
    overwrites: true,
    prologue: [1],
    tiny: () => true,
    joins: true,
    backward: null,
    dispatch: ([, value, start], y, { dim }) => [place(value!, y, dim, start!.base)],
  },
  ([state]) => ({ shape: state!.shape, dtype: state!.dtype }),
);
/**
 * Puts `value` into `state` at `start` of a dimension, in place: the result has the storage of `state`, whose handle goes
 * stale. `start` may differ from run to run. For caches and running state; there is no gradient.
 */
export function overwrite(state: Tensor, value: Tensor, dim: number, start: number | Tensor): Tensor {
  checkTensors('overwrite', { state, value });
  const d = axis('overwrite', dim, state.rank);
  const fits =
    value.rank === state.rank && value.shape.every((n, i) => (i === d ? n <= state.shape[d]! : n === state.shape[i]));
  if (state.base !== state) throw new RangeError('[overwrite] state: got a view, want the tensor itself, or its copy');
  const known = start instanceof Tensor ? start.base.scalar : start;
  if (known === null) throw new TypeError('[overwrite] start: got a tensor of values, want a number or scalar(...)');
  if (!fits || !Number.isInteger(known) || known < 0 || known + value.shape[d]! > state.shape[d]!) {
    throw new RangeError(
      `[overwrite] got ${show(value.shape)} at ${known} of dim ${d}, want it within ${show(state.shape)}`,
    );
  }
  if (state.dtype === 'f16') throw new TypeError('[overwrite] state: got f16, want a type of four bytes');
  const at = start instanceof Tensor ? start : scalar(start, 'i32');
  return write([state, value.to(state.dtype).contiguous(), at], { dim: d });
}
