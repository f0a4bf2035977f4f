// Softmax and its logarithm.
import softmaxShader from '../../shaders/softmax.wgsl';
import { kernel } from '../exec/kernel.ts';
import { op } from '../tensor/op.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { alongRows, overRows } from './row.ts';

const rows = kernel(softmaxShader);
const shared = { highest: 'highest_of_lanes' };

const softmaxRows = op(
  {
    name: 'softmax',
    saves: ['y'],
    // dx = y (dy - sum(dy y))
    backward: [(dy, { y }) => y.mul(dy.sub(dy.mul(y).sum(-1, true)))],
    dispatch: ([x], y, _, capabilities) => [overRows(rows, [x!, y], capabilities, { shared })],
  },
  ([x]) => ({ shape: x!.shape, dtype: 'f32' }),
);
const logSoftmaxRows = op(
  {
    name: 'log_softmax',
    saves: ['y'],
    // dx = dy - exp(y) sum(dy)
    backward: [(dy, { y }) => dy.sub(y.exp().mul(dy.sum(-1, true)))],
    dispatch: ([x], y, _, capabilities) => [
      overRows(rows, [x!, y], capabilities, { changes: { result: 'log_probability' }, shared }),
    ],
  },
  ([x]) => ({ shape: x!.shape, dtype: 'f32' }),
);

/** exp(x) / sum exp(x) along a dimension. Masked places hold a large negative number, not -inf. */
export const softmax = (x: Tensor, dim = -1): Tensor =>
  alongRows('softmax', x, dim, (t) => softmaxRows([t])).to(x.dtype);
/** x - log(sum exp(x)) along a dimension. */
export const log_softmax = (x: Tensor, dim = -1): Tensor =>
  alongRows('log_softmax', x, dim, (t) => logSoftmaxRows([t])).to(x.dtype);
