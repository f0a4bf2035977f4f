// Padding: constants put beside a tensor.
import { checkList, checkNumber, checkTensors } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { concat } from './concat.ts';
import { full } from './create.ts';

/**
 * With `value` around it: [before, after] of the last dimension, then of the one before it, and so on, as in
 * torch.nn.functional.pad. Negative numbers cut.
 */
export function pad(x: Tensor, padding: readonly number[], value = 0): Tensor {
  checkTensors('pad', { x });
  checkList('pad', 'padding', padding);
  checkNumber('pad', 'value', value);
  if (padding.length % 2 !== 0 || padding.length > 2 * x.rank) {
    throw new RangeError(
      `[pad] padding: got ${padding.length} numbers, want two for each of at most ${x.rank} dimensions`,
    );
  }
  let y = x;
  for (let k = 0; k < padding.length / 2; k++) {
    const dim = x.rank - 1 - k;
    const [before, after] = [padding[2 * k]!, padding[2 * k + 1]!];
    const cut = y.slice(dim, Math.max(0, -before), y.shape[dim]! - Math.max(0, -after));
    const block = (n: number) =>
      full(
        cut.shape.map((s, i) => (i === dim ? Math.max(0, n) : s)),
        value,
        x.dtype,
      );
    y = concat([block(before), cut, block(after)], dim);
  }
  return y;
}
