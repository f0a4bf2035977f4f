// Normalisation of rows: layer norm (arXiv:1607.06450), rms norm (arXiv:1910.07467), l2.
import standardizeShader from '../../shaders/standardize.wgsl';
import { kernel } from '../exec/kernel.ts';
import { checkTensors } from '../tensor/check.ts';
import { op } from '../tensor/op.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkFloat, overRows } from './row.ts';

const rows = kernel(standardizeShader);

/** (x - mean) / sqrt(variance + eps) of each row, the mean taken as 0 without `center`; weight and bias fuse behind it. */
const standardize = (name: string, center: boolean) =>
  op<{ eps: number }>(
    {
      name,
      epilogue: true,
      saves: [0],
      // dx = (dy - mean(dy) - y mean(dy y)) / sqrt(variance + eps), with y made again
      backward: [
        (dy, { x, attrs }) => {
          const v = x[0]!.to('f32'); // the square of a half may be none
          const d = center ? v.sub(v.mean(-1, true)) : v;
          const scale = d.square().mean(-1, true).add(attrs.eps).rsqrt();
          const y = d.mul(scale);
          const along = y.mul(dy.mul(y).mean(-1, true));
          return (center ? dy.sub(dy.mean(-1, true)) : dy).sub(along).mul(scale);
        },
      ],
      dispatch: ([x], y, { eps }, capabilities) => [
        overRows(rows, [x!, y], capabilities, { params: { eps }, changes: { CENTER: String(center) }, shared: {} }),
      ],
    },
    ([x]) => ({ shape: x!.shape, dtype: 'f32' }),
  );
const center = standardize('layer_norm', true);
const uncentered = standardize('rms_norm', false);

function checkRow(name: string, x: Tensor, parameters: Record<string, Tensor | undefined>): void {
  checkFloat(name, x);
  checkTensors(name, {}, parameters);
  for (const t of Object.values(parameters)) {
    if (t && (t.rank !== 1 || t.shape[0] !== x.shape.at(-1))) {
      throw new RangeError(
        `[${name}] weight, bias: got [${t.shape}], want [${x.shape.at(-1)}] for x [${x.shape.join(', ')}]`,
      );
    }
  }
}

/** Over the last dimension, in f32: (x - mean) / sqrt(variance + eps) weight + bias. */
export function layer_norm(x: Tensor, weight?: Tensor, bias?: Tensor, eps = 1e-5): Tensor {
  checkRow('layer_norm', x, { weight, bias });
  let y = center([x.contiguous()], { eps });
  if (weight) y = y.mul(weight);
  if (bias) y = y.add(bias);
  return y.to(x.dtype);
}
/** Over the last dimension, in f32: x / sqrt(mean of squares + eps) weight. */
export function rms_norm(x: Tensor, weight?: Tensor, eps = 1e-6): Tensor {
  checkRow('rms_norm', x, { weight });
  const y = uncentered([x.contiguous()], { eps });
  return (weight ? y.mul(weight) : y).to(x.dtype);
}
/** x / max(length, eps) along a dimension, as torch.nn.functional.normalize. */
export function normalize(x: Tensor, dim = -1, eps = 1e-12): Tensor {
  checkFloat('normalize', x);
  const v = x.to('f32'); // the square of a half may be none
  const length = v
    .square()
    .sum(dim, true)
    .maximum(eps * eps)
    .sqrt(); // this way round it has a slope at 0
  return v.div(length).to(x.dtype);
}
