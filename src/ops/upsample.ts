// A picture in twice its size by nearest neighbours. A convolution behind it reads the small one.
import { checkTensors } from '../tensor/check.ts';
import { show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

const small = new WeakMap<Tensor, Tensor>();

/** x [N, C, H, W] with each row and column twice, cut to `size`: [N, C, 2 H or less, 2 W or less]. */
export function upsample_nearest(x: Tensor, size?: readonly number[]): Tensor {
  checkTensors('upsample_nearest', { x });
  const [N, C, H, W] = x.shape as [number, number, number, number];
  const [height, width] = size ?? [2 * H, 2 * W];
  if (x.rank !== 4 || !height || !width || height > 2 * H || width > 2 * W) {
    throw new RangeError(
      `[upsample_nearest] got x ${show(x.shape)}, size ${show(size ?? [])}; want [N, C, H, W], at most 2 H and 2 W`,
    );
  }
  const whole = x.reshape([N, C, H, 1, W, 1]).expand([N, C, H, 2, W, 2]);
  const cut = whole
    .reshape([N, C, 2 * H, 2 * W])
    .slice(2, 0, height)
    .slice(3, 0, width);
  small.set(cut, x);
  return cut;
}

/** What was brought to twice its size to make x, where it was and is not computed yet. */
export const upsampledFrom = (x: Tensor): Tensor | undefined => (x.base.op ? small.get(x) : undefined);
