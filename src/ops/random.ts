// Random numbers that are a function of their seed and place alone.
import { checkList, checkOptions, describe } from '../tensor/check.ts';
import { holds } from '../tensor/dtype.ts';
import { numel, type Shape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { scalar } from './create.ts';
import { to } from './elementwise.ts';
import { arange, map } from './elementwise-family.ts';
import { expand, reshape } from './view.ts';

const normal = map('randn', 'normal', [], null, 'f32');

const word = (value: number | Tensor): Tensor => (typeof value === 'number' ? scalar(value, 'u32') : to(value, 'u32'));

/** Where the numbers come from. `position`: another one is another draw. Each may be a scalar that differs from run to run. */
export type RandnOptions = {
  /** A whole number from 0 to 2^53 - 1. */
  seed: number;
  /** A whole number from 0 to 2^32 - 1. */
  position?: number | Tensor;
};

/** Normal numbers of deviation 1, f32: Philox 4x32-10 and Box-Muller, the same bits on every software adapter. */
export function randn(shape: Shape, options: RandnOptions): Tensor {
  checkList('randn', 'shape', shape, 0);
  checkOptions('randn', options, '{ seed: 7 }');
  const { seed, position = 0 } = options;
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`[randn] seed: got ${describe(seed)}, want a whole number from 0`);
  }
  const isWord = Number.isInteger(position) && holds('u32', position as number);
  if (!(position instanceof Tensor || isWord)) {
    throw new RangeError(`[randn] position: got ${describe(position)}, want a whole number from 0 to 2^32 - 1`);
  }
  const n = numel(shape);
  const words = [position, seed % 2 ** 32, Math.floor(seed / 2 ** 32)].map((v) => expand(word(v), [n]));
  return reshape(normal([arange(n), ...words], {}), shape);
}
