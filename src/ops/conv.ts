// Convolution as a matrix product: windows become columns, so that its order of summation is that of matmul.
import unfoldShader from '../../shaders/unfold.wgsl';
import { constOf, kernel } from '../exec/kernel.ts';
import { checkList, checkTensors } from '../tensor/check.ts';
import { type Backward, composite, op } from '../tensor/op.ts';
import { type Shape, show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

const run = kernel(unfoldShader);
const WG = constOf(unfoldShader, 'WG');

type Pair = readonly [number, number];
type Windows = { kernel: Pair; stride: Pair; padding: Pair; dilation: Pair };

const outSize = (size: number, i: 0 | 1, { kernel: k, stride, padding, dilation }: Windows) =>
  Math.floor((size + 2 * padding[i] - dilation[i] * (k[i] - 1) - 1) / stride[i]) + 1;

/** A kernel between pictures [N, C, H, W] and their windows [N, C, kh, kw, oh, ow]; each is the other's gradient. */
const windows = (name: 'unfold' | 'fold') =>
  op<Windows & { shape: Shape }>(
    {
      name,
      backward: null, // that of conv2d is its own
      dispatch: ([x], y, { kernel: k, stride, padding, dilation }) => {
        const [pictures, columns] = name === 'unfold' ? [x!, y] : [y, x!];
        const [height, width, out_height, out_width] = [...pictures.shape.slice(-2), ...columns.shape.slice(-2)];
        const params = {
          n: y.size,
          ...{ height: height!, width: width!, out_height: out_height!, out_width: out_width! },
          ...{ kernel_height: k[0], kernel_width: k[1], stride_y: stride[0], stride_x: stride[1] },
          ...{ pad_y: padding[0], pad_x: padding[1], dilation_y: dilation[0], dilation_x: dilation[1] },
        };
        const changes = { element: name === 'fold' ? 'element_of_picture' : 'element_of_window' };
        return [run({ x: x!, y }, { params, groups: Math.ceil(y.size / (4 * WG)), aligned: ['y'], changes })];
      },
    },
    (_, { shape }) => ({ shape, dtype: 'f32' }),
  );
const unfoldNode = windows('unfold');
const foldNode = windows('fold');

/** Whether windows neither overlap nor leave the picture: then they are a view of it. */
const apart = ({ kernel: k, stride, padding, dilation }: Windows) =>
  [0, 1].every((i) => stride[i] === k[i] && padding[i] === 0 && dilation[i] === 1);

const windowShape = ([N, C, H, W]: Shape, w: Windows): Shape => {
  return [N!, C!, ...w.kernel, outSize(H!, 0, w), outSize(W!, 1, w)];
};
/** [N, C, H, W] as its windows [N, C, kh, kw, oh, ow]. */
function unfold(x: Tensor, w: Windows): Tensor {
  const shape = windowShape(x.shape, w);
  if (!apart(w)) return unfoldNode([x.contiguous()], { ...w, shape });
  const [N, C, kh, kw, oh, ow] = shape as [number, number, number, number, number, number];
  const whole = x.slice(2, 0, oh * kh).slice(3, 0, ow * kw);
  return whole.reshape([N, C, oh, kh, ow, kw]).permute([0, 1, 3, 5, 2, 4]);
}

/** Windows [N, C, kh, kw, oh, ow] added up where they lie in pictures of `shape`. */
const fold = (x: Tensor, shape: Shape, w: Windows): Tensor => foldNode([x.contiguous()], { ...w, shape });

/** The windows of each group as columns, [N, groups, C / groups kh kw, oh ow]. */
const columns = (x: Tensor, w: Windows, groups: number): Tensor => {
  const [N, C, kh, kw, oh, ow] = windowShape(x.shape, w) as [number, number, number, number, number, number];
  return unfold(x, w).reshape([N, groups, (C / groups) * kh * kw, oh * ow]);
};
/** The weight of each group as a matrix, [groups, O / groups, C / groups kh kw]. */
const filters = (weight: Tensor, groups: number): Tensor => {
  const [O, I, kh, kw] = weight.shape as [number, number, number, number];
  return weight.reshape([groups, O / groups, I * kh * kw]);
};
/** dy [N, O, oh, ow] as [N, groups, O / groups, oh ow]. */
const slopes = (dy: Tensor, groups: number): Tensor => {
  const [N, O, oh, ow] = dy.shape as [number, number, number, number];
  return dy.reshape([N, groups, O / groups, oh * ow]);
};
const intoPictures: Backward = (dy, { x, attrs: { w, groups } }) => {
  const windows = filters(x[1]!, groups).transpose(-2, -1).matmul(slopes(dy, groups));
  return fold(windows.reshape(windowShape(x[0]!.shape, w)), x[0]!.shape, w);
};
/** The columns are made again: they are kh kw times the pictures. */
const intoWeight: Backward = (dy, { x, attrs: { w, groups } }) =>
  slopes(dy, groups)
    .matmul(columns(x[0]!, w, groups).transpose(-2, -1))
    .sum(0)
    .reshape(x[1]!.shape);
const definition = { name: 'conv2d', saves: [0, 1], backward: [intoPictures, intoWeight] } as const;

export type Conv2dOptions = {
  stride?: number | Pair;
  padding?: number | Pair;
  dilation?: number | Pair;
  groups?: number;
};

/** x [N, C, H, W] with weight [O, C / groups, kh, kw]: [N, O, oh, ow], as torch.nn.functional.conv2d. */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: Conv2dOptions = {}): Tensor {
  checkTensors('conv2d', { x, weight }, { bias });
  const { groups = 1 } = options;
  const pair = (name: string, v: number | Pair, least: number): Pair => {
    const both = typeof v === 'number' ? ([v, v] as const) : v;
    checkList('conv2d', name, both, least);
    return both;
  };
  const [O, I, kh, kw] = weight.shape as [number, number, number, number];
  if (x.rank !== 4 || weight.rank !== 4 || x.shape[1] !== I * groups || O % groups !== 0) {
    throw new RangeError(
      `[conv2d] shapes: got x ${show(x.shape)}, weight ${show(weight.shape)}, groups ${groups}; want x [N, C, H, W], weight [O, C / groups, kh, kw]`,
    );
  }
  if (bias && (bias.rank !== 1 || bias.shape[0] !== O)) {
    throw new RangeError(`[conv2d] bias: got ${show(bias.shape)}, want [${O}]`);
  }
  const w: Windows = {
    kernel: [kh, kw],
    stride: pair('stride', options.stride ?? 1, 1),
    padding: pair('padding', options.padding ?? 0, 0),
    dilation: pair('dilation', options.dilation ?? 1, 1),
  };
  const [oh, ow] = [outSize(x.shape[2]!, 0, w), outSize(x.shape[3]!, 1, w)];
  if (oh < 1 || ow < 1) throw new RangeError(`[conv2d] x: got ${show(x.shape)}, smaller than the kernel ${kh} x ${kw}`);
  const shape = [x.shape[0]!, O, oh, ow];
  const pictures = x.to('f32');
  const made = filters(weight, groups)
    .matmul(columns(pictures, w, groups))
    .reshape(shape);
  const y = composite(definition, [pictures, weight], made, { w, groups });
  return (bias ? y.add(bias.reshape([O, 1, 1])) : y).to(x.dtype);
}
