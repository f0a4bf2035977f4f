// Convolution as a matrix product: windows become columns, so that its order of summation is that of matmul.
import unfoldShader from '../../shaders/unfold.wgsl';
import { constOf, kernel } from '../exec/kernel.ts';
import { op } from '../tensor/op.ts';
import { show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { matmul } from './matmul.ts';

const run = kernel(unfoldShader);
const WG = constOf(unfoldShader, 'WG');

type Pair = readonly [number, number];
type Windows = { kernel: Pair; stride: Pair; padding: Pair; dilation: Pair };

const outSize = (size: number, i: 0 | 1, { kernel: k, stride, padding, dilation }: Windows) =>
  Math.floor((size + 2 * padding[i] - dilation[i] * (k[i] - 1) - 1) / stride[i]) + 1;

const windows = op<Windows>(
  {
    name: 'unfold',
    backward: null,
    dispatch: ([x], y, { kernel: k, stride, padding, dilation }) => {
      const [height, width, , , out_height, out_width] = [...x!.shape.slice(-2), ...y.shape.slice(-4)];
      const params = {
        n: y.size,
        ...{ height: height!, width: width!, out_height: out_height!, out_width: out_width! },
        ...{ kernel_height: k[0], kernel_width: k[1], stride_y: stride[0], stride_x: stride[1] },
        ...{ pad_y: padding[0], pad_x: padding[1], dilation_y: dilation[0], dilation_x: dilation[1] },
      };
      return [run({ x: x!, y }, { params, groups: Math.ceil(y.size / (4 * WG)), aligned: ['y'] })];
    },
  },
  ([x], w) => ({
    shape: [...x!.shape.slice(0, 2), ...w.kernel, outSize(x!.shape[2]!, 0, w), outSize(x!.shape[3]!, 1, w)],
    dtype: 'f32',
  }),
);

/** [N, C, H, W] as its windows [N, C, kh, kw, oh, ow]: a view where they neither overlap nor leave the picture. */
function unfold(x: Tensor, w: Windows): Tensor {
  const { kernel: k, stride, padding, dilation } = w;
  const apart = [0, 1].every((i) => stride[i] === k[i] && padding[i] === 0 && dilation[i] === 1);
  if (!apart) return windows([x.contiguous()], w);
  const [N, C] = x.shape as [number, number];
  const [oh, ow] = [outSize(x.shape[2]!, 0, w), outSize(x.shape[3]!, 1, w)];
  const whole = x.slice(2, 0, oh * k[0]).slice(3, 0, ow * k[1]);
  return whole.reshape([N, C, oh, k[0], ow, k[1]]).permute([0, 1, 3, 5, 2, 4]);
}

export type Conv2dOptions = {
  stride?: number | Pair;
  padding?: number | Pair;
  dilation?: number | Pair;
  groups?: number;
};

/** x [N, C, H, W] with weight [O, C / groups, kh, kw]: [N, O, oh, ow], as torch.nn.functional.conv2d. */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: Conv2dOptions = {}): Tensor {
  const { groups = 1 } = options;
  const pair = (v: number | Pair = 1): Pair => (typeof v === 'number' ? [v, v] : v);
  const [O, I, kh, kw] = weight.shape as [number, number, number, number];
  if (x.rank !== 4 || weight.rank !== 4 || x.shape[1] !== I * groups || O % groups !== 0) {
    throw new RangeError(
      `[conv2d] shapes: got x ${show(x.shape)}, weight ${show(weight.shape)}, groups ${groups}; want x [N, C, H, W], weight [O, C / groups, kh, kw]`,
    );
  }
  if (bias && (bias.rank !== 1 || bias.shape[0] !== O)) {
    throw new RangeError(`[conv2d] bias: got ${show(bias.shape)}, want [${O}]`);
  }
  const stride = pair(options.stride);
  const w: Windows = {
    kernel: [kh, kw],
    stride,
    padding: pair(options.padding ?? 0),
    dilation: pair(options.dilation),
  };
  const [oh, ow] = [outSize(x.shape[2]!, 0, w), outSize(x.shape[3]!, 1, w)];
  if (oh < 1 || ow < 1) throw new RangeError(`[conv2d] x: got ${show(x.shape)}, smaller than the kernel ${kh} x ${kw}`);
  const N = x.shape[0]!;
  const columns = unfold(x.to('f32'), w).reshape([N, groups, I * kh * kw, oh * ow]);
  const y = matmul(weight.reshape([groups, O / groups, I * kh * kw]), columns).reshape([N, O, oh, ow]);
  return (bias ? y.add(bias.reshape([O, 1, 1])) : y).to(x.dtype);
}
