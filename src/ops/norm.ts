// Normalisation: layer norm (arXiv:1607.06450), group norm (arXiv:1803.08494), rms norm (arXiv:1910.07467), l2.
import standardizeShader from '../../shaders/standardize.wgsl';
import { kernel } from '../exec/kernel.ts';
import { checkTensors } from '../tensor/check.ts';
import { composite, type Op, op } from '../tensor/op.ts';
import { show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkFloat, longPasses, overRows } from './row.ts';

const rows = kernel(standardizeShader);

/** dx = (dy - mean(dy) - y mean(dy y)) / sqrt(variance + eps) of rows x, with y made again. */
function slope(dy: Tensor, x: Tensor, eps: number, center: boolean): Tensor {
  const v = x.to('f32'); // the square of a half may be none
  const d = center ? v.sub(v.mean(-1, true)) : v;
  const scale = d.square().mean(-1, true).add(eps).rsqrt();
  const y = d.mul(scale);
  const along = y.mul(dy.mul(y).mean(-1, true));
  return (center ? dy.sub(dy.mean(-1, true)) : dy).sub(along).mul(scale);
}

/** (x - mean) / sqrt(variance + eps) of each row, the mean taken as 0 without `center`; weight and bias fuse behind it. */
const standardize = (name: string, center: boolean) =>
  op<{ eps: number }>(
    {
      name,
      epilogue: true,
      saves: [0],
      backward: [(dy, { x, attrs }) => slope(dy, x[0]!, attrs.eps, center)],
      dispatch: ([x], y, { eps }, capabilities) => [
        overRows(rows, [x!, y], capabilities, {
          params: { eps },
          changes: { CENTER: String(center), LONG: longPasses(x!, capabilities) },
          shared: {},
        }),
      ],
    },
    ([x]) => ({ shape: x!.shape, dtype: 'f32' }),
  );
const center = standardize('layer_norm', true);
const uncentered = standardize('rms_norm', false);

/** `dim`: that of which each element has its weight and bias. */
function check(name: string, x: Tensor, dim: number, parameters: Record<string, Tensor | undefined>): void {
  checkFloat(name, x);
  const size = x.shape.at(dim);
  checkTensors(name, {}, parameters);
  for (const t of Object.values(parameters)) {
    if (t && (t.rank !== 1 || t.shape[0] !== size)) {
      throw new RangeError(`[${name}] weight, bias: got [${t.shape}], want [${size}] for x [${x.shape.join(', ')}]`);
    }
  }
}

/** Over the last dimension, in f32: (x - mean) / sqrt(variance + eps) weight + bias. */
export function layer_norm(x: Tensor, weight?: Tensor, bias?: Tensor, eps = 1e-5): Tensor {
  check('layer_norm', x, -1, { weight, bias });
  let y = center([x.contiguous()], { eps });
  if (weight) y = y.mul(weight);
  if (bias) y = y.add(bias);
  return y.to(x.dtype);
}
/** Over the last dimension, in f32: x / sqrt(mean of squares + eps) weight. */
export function rms_norm(x: Tensor, weight?: Tensor, eps = 1e-6): Tensor {
  check('rms_norm', x, -1, { weight });
  const y = uncentered([x.contiguous()], { eps });
  return (weight ? y.mul(weight) : y).to(x.dtype);
}

/** A vector [C] beside x [N, C, ...], and back: a sum over all but the channels. */
const perChannel = (v: Tensor, { rank }: Tensor) => v.reshape([-1, ...new Array<number>(rank - 2).fill(1)]);
const overChannels = (dy: Tensor) => dy.transpose(0, 1).flatten(1).sum(1);
const groupRows = (x: Tensor, groups: number) => x.reshape([x.shape[0]! * groups, -1]).contiguous();
const grouped = (x: Tensor, groups: number, eps: number) => center([groupRows(x, groups)], { eps }).reshape(x.shape);

/** What was standardised is made again, so that nothing is kept beside x. */
const scaledGroups = {
  name: 'group_norm',
  saves: [0, 1],
  backward: [
    (dy, { x, attrs: { groups, eps } }) => {
      const scaled = groupRows(dy.mul(perChannel(x[1]!, dy)), groups);
      return slope(scaled, groupRows(x[0]!, groups), eps, true).reshape(dy.shape);
    },
    (dy, { x, attrs: { groups, eps } }) => overChannels(dy.mul(grouped(x[0]!, groups, eps))),
  ],
} satisfies Pick<Op, 'name' | 'saves' | 'backward'>;

/**
 * x [N, C, ...] standardised, in f32, over each of `num_groups` groups of neighbouring channels with all that follows them;
 * times weight [C] plus bias [C], as torch.nn.functional.group_norm.
 */
export function group_norm(x: Tensor, num_groups: number, weight?: Tensor, bias?: Tensor, eps = 1e-5): Tensor {
  check('group_norm', x, 1, { weight, bias });
  const C = x.shape[1] ?? 0;
  if (x.rank < 2) throw new RangeError(`[group_norm] x: got ${show(x.shape)}, want [N, C, ...]`);
  if (!Number.isInteger(num_groups) || num_groups < 1 || C % num_groups !== 0) {
    throw new RangeError(`[group_norm] num_groups: got ${num_groups}, want a divisor of the ${C} channels of x`);
  }
  if (x.size === 0) return x;
  let y = grouped(x, num_groups, eps);
  if (weight) y = composite(scaledGroups, [x, weight], y.mul(perChannel(weight, x)), { groups: num_groups, eps });
  if (bias) y = y.add(perChannel(bias, x));
  return y.to(x.dtype);
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
