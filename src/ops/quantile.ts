// Order statistics, composed of the kernel that finds the largest elements of a row.
import { checkTensors, describe } from '../tensor/check.ts';
import { show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { add, lt, mul, sub, where } from './elementwise.ts';
import { min } from './reduce.ts';
import { top_k } from './sampling.ts';
import { reshape } from './view.ts';

/**
 * The value below which a share q of the last dimension lies, between two elements by a straight line (`torch.quantile`).
 * Without gradients. Rows of at most 2^24 elements.
 */
export function quantile(x: Tensor, q: number, dim = -1, keepdim = false): Tensor {
  checkTensors('quantile', { x });
  if (!(q >= 0 && q <= 1)) throw new RangeError(`[quantile] q: got ${describe(q)}, want a number from 0 to 1`);
  const n = x.shape.at(-1);
  if (n === undefined || x.size === 0 || (dim !== -1 && dim !== x.rank - 1)) {
    throw new RangeError(`[quantile] dim: got ${describe(dim)} of ${show(x.shape)}, want the last one, not empty`);
  }
  const rows = reshape(x, [x.size / n, n]);
  const place = q * (n - 1);
  const low = Math.floor(place);
  /** The element at a place of the sorted row: the least of those from there on. */
  const at = (k: number): Tensor => {
    const most = top_k(rows, n - k);
    return min(where(lt(most, LOWEST), LARGEST, most), -1);
  };
  const below = at(low);
  const value = low === place ? below : add(below, mul(sub(at(low + 1), below), place - low));
  return reshape(value, keepdim ? [...x.shape.slice(0, -1), 1] : x.shape.slice(0, -1));
}
const LOWEST = -3.4e38; // what top_k removes is below
const LARGEST = 3.4028234663852886e38;
