// Convolution. Windows that lie apart are a view of the picture, so theirs is a matrix product; others have a kernel that reads
// them where they lie. Neither makes columns of windows that overlap.
import convShader from '../../shaders/conv.wgsl';
import { type Dispatch, kernel } from '../exec/kernel.ts';
import type { Capabilities } from '../gpu/device.ts';
import { checkList, checkOptions, checkTensors, describe } from '../tensor/check.ts';
import { type Backward, composite, type Op, op } from '../tensor/op.ts';
import { type Shape, show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { stack } from './concat.ts';
import { pad } from './pad.ts';
import { upsampledFrom } from './upsample.ts';

const run = kernel(convShader);
const MOST_TERMS = 128; // of a segment, where that is at least one channel; part of the result, not a choice of speed

type Pair = readonly [number, number];
/** `padding` is that before the first row and column; the result's size says what comes after the last. */
type Windows = { kernel: Pair; stride: Pair; padding: Pair; dilation: Pair; groups: number };
type Four = [number, number, number, number];

type Form = Windows & {
  /** Zeros between the elements of x, less one; or how often each is there, and the size that x has so. */
  spread: Pair;
  repeated?: Pair | undefined;
  /** Strides of the weight along channels of the result, channels of x, and the window; and where it begins. */
  w: { offset: number; group: number; strides: Four };
};

/** One dispatch of the kernel on x [N, C, H, W]: y [N, O, oh, ow]. */
function dispatch(x: Tensor, w: Tensor, y: Tensor, form: Form, { software, subgroupSize }: Capabilities): Dispatch[] {
  const { kernel: k, stride, padding, dilation, groups, spread, repeated } = form;
  const [N, C] = x.shape as Four;
  const [H, W] = repeated ?? (x.shape.slice(2) as unknown as Pair);
  const [, O, oh, ow] = y.shape as Four;
  const [channels, out] = [C / groups, O / groups];
  const broadcast = software && (subgroupSize === 4 || subgroupSize === 8);
  const WG = broadcast ? subgroupSize : software ? 8 : 64;
  const TILE_O = out === 1 ? 1 : out <= 4 || !broadcast ? 4 : 8;
  const [x_n, x_c, x_y, x_x] = x.layout.strides as Four;
  const [w_o, w_c, w_i, w_j] = form.w.strides;
  const params = {
    ...{ batch: N, groups, in_channels: channels, out_channels: out },
    segment: Math.max(1, Math.floor(MOST_TERMS / (k[0] * k[1]))),
    ...{ height: H, width: W, out_height: oh, out_width: ow },
    ...{ x_offset: x.layout.offset, x_n, x_c, x_y, x_x },
    ...{ w_offset: form.w.offset, w_group: form.w.group, w_o, w_c, w_i, w_j },
    ...{ kernel: k, stride, pad: padding, dilation, spread },
  };
  const slides = k[1] <= 3 && [...stride, ...dilation].every((s) => s === 1);
  const changes = {
    ...{ WG, TILE_O, KERNEL_X: k[1] },
    ...(broadcast && { add_line: 'add_line_broadcast' }),
    ...(!slides && { KERNEL_X: 1, add_channel: 'add_channel_of_any' }),
    ...(repeated
      ? { four: 'four_of_repeated', row_at: 'row_at_of_repeated' }
      : spread.some((s) => s > 1) && {
          four: 'four_of_spread',
          row_at: 'row_at_of_spread',
          row_in: 'row_in_of_spread',
        }),
  };
  const tiles = N * Math.ceil(oh / 4) * Math.ceil(ow / 4);
  const groupsOfThreads = Math.ceil(tiles / WG) * groups * Math.ceil(out / TILE_O);
  return [run({ x, w, y }, { params, groups: groupsOfThreads, aligned: ow % 4 === 0 ? ['y'] : [], changes })];
}
const flops = (w: Tensor, y: Tensor) => 2 * y.size * (w.size / w.shape[0]!);

type Attrs = Windows & { shape: Shape } & Partial<Pick<Form, 'spread' | 'repeated'>>;
type Node = (inputs: Tensor[], attrs: Attrs) => Tensor;
/** x [N, C, H, W] with weight [O, C / groups, kh, kw]: [N, O, oh, ow]. */
const rules = {
  name: 'conv2d',
  saves: [0, 1],
  backward: [
    (dy, { x, attrs }) => back([dy, x[1]!], { ...(attrs as Windows), shape: x[0]!.shape }),
    (dy, { x, attrs }) => weightSlope(dy, x[0]!, attrs as Windows),
  ],
} satisfies Pick<Op, 'name' | 'saves' | 'backward'>;
const forward: Node = op<Attrs>(
  {
    ...rules,
    epilogue: true,
    flops: ([, w], y) => flops(w!, y),
    dispatch: ([x, w], y, attrs, capabilities) => {
      const { groups } = attrs as Attrs;
      const { strides, offset } = w!.layout;
      const group = (w!.shape[0]! / groups) * strides[0]!;
      const form = { spread: [1, 1] as const, ...(attrs as Attrs), w: { offset, group, strides: strides as Four } };
      return dispatch(x!, w!, y, form, capabilities);
    },
  },
  (_, { shape }) => ({ shape, dtype: 'f32' }),
);
/** Its transpose: dy [N, O, oh, ow], with zeros between strides, convolved with the weight turned round. */
const back: Node = op<Attrs>(
  {
    name: 'conv2d_transpose',
    epilogue: true,
    saves: [0, 1],
    backward: [
      (dx, { x, attrs }) => forward([dx, x[1]!], { ...(attrs as Windows), shape: x[0]!.shape }),
      (dx, { x, attrs }) => weightSlope(x[0]!, dx, attrs as Windows),
    ],
    flops: ([dy, w]) => flops(w!, dy!),
    dispatch: ([dy, w], y, attrs, capabilities) => {
      const { kernel: k, padding, dilation, stride, groups } = attrs as Windows;
      const [w_o, w_c, w_i, w_j] = w!.layout.strides as Four;
      const form = {
        ...{ kernel: k, dilation, groups, stride: [1, 1] as const, spread: stride },
        padding: [0, 1].map((i) => dilation[i]! * (k[i]! - 1) - padding[i]!) as unknown as Pair,
        w: {
          offset: w!.layout.offset + (k[0] - 1) * w_i + (k[1] - 1) * w_j,
          group: (w!.shape[0]! / groups) * w_o,
          strides: [w_c, w_o, -w_i, -w_j] as Four,
        },
      };
      return dispatch(dy!, w!, y, form, capabilities);
    },
  },
  (_, { shape }) => ({ shape, dtype: 'f32' }),
);

/** Rows of all pictures, [groups, C / groups, N oh ow], from [N, C, oh, ow]. */
const byGroup = (x: Tensor, groups: number): Tensor => {
  const [N, C, H, W] = x.shape as Four;
  return x
    .reshape([N, groups, C / groups, H * W])
    .permute([1, 2, 0, 3])
    .reshape([groups, C / groups, N * H * W]);
};
/** One product for each place of the window, so that no column is made: [O, C / groups, kh, kw]. */
function weightSlope(dy: Tensor, x: Tensor, w: Windows): Tensor {
  const { kernel: k, stride, padding, dilation, groups } = w;
  const size = dy.shape.slice(2);
  const far = [0, 1].map((i) => dilation[i]! * (k[i]! - 1) + stride[i]! * (size[i]! - 1) + 1); // what windows cover
  const after = [0, 1].map((i) => far[i]! - x.shape[2 + i]! - padding[i]!);
  const whole = pad(x, [padding[1], after[1]!, padding[0], after[0]!]);
  const slopes = byGroup(dy, groups);
  const at = (t: Tensor, i: 0 | 1, start: number) =>
    t.slice(2 + i, start, start + stride[i] * (size[i]! - 1) + 1, stride[i]);
  const places = Array.from({ length: k[0] * k[1] }, (_, p) => {
    const [i, j] = [Math.floor(p / k[1]) * dilation[0], (p % k[1]) * dilation[1]];
    return slopes.matmul(byGroup(at(at(whole, 0, i), 1, j), groups).transpose(1, 2));
  });
  return stack(places, -1).reshape([dy.shape[1]!, x.shape[1]! / groups, ...k]);
}

/** Whether windows neither overlap nor leave the picture: then they are a view of it. */
const apart = ({ kernel: k, stride, padding, dilation }: Windows) =>
  [0, 1].every((i) => stride[i] === k[i] && padding[i] === 0 && dilation[i] === 1);

/** [N, C, H, W] as windows that lie apart, in columns for each group: [N, groups, C / groups kh kw, oh ow]. */
function inColumns(x: Tensor, { kernel: [kh, kw], groups }: Windows): Tensor {
  const [N, C, H, W] = x.shape as Four;
  const [oh, ow] = [Math.floor(H / kh), Math.floor(W / kw)];
  const whole = x.slice(2, 0, oh * kh).slice(3, 0, ow * kw);
  const windows = whole.reshape([N, C, oh, kh, ow, kw]).permute([0, 1, 3, 5, 2, 4]);
  return windows.reshape([N, groups, (C / groups) * kh * kw, oh * ow]);
}
/** Columns back to a picture of `shape`: zeros where no window lies. */
function picture(columns: Tensor, [N, C, H, W]: Four, { kernel: [kh, kw] }: Windows): Tensor {
  const [oh, ow] = [Math.floor(H / kh), Math.floor(W / kw)];
  const windows = columns.reshape([N, C, kh, kw, oh, ow]).permute([0, 1, 4, 2, 5, 3]);
  return pad(windows.reshape([N, C, oh * kh, ow * kw]), [0, W - ow * kw, 0, H - oh * kh]);
}
/** The weight of each group as a matrix, [groups, O / groups, C / groups kh kw]. */
const filters = (weight: Tensor, groups: number): Tensor =>
  weight.reshape([groups, weight.shape[0]! / groups, weight.size / weight.shape[0]!]);

const intoPicture: Backward = (dy, { x, attrs }) => {
  const [N, O, oh, ow] = dy.shape as Four;
  const groups = attrs.groups as number;
  const slopes = dy.reshape([N, groups, O / groups, oh * ow]);
  return picture(
    filters(x[1]!, groups).transpose(1, 2).matmul(slopes),
    x[0]!.shape as unknown as Four,
    attrs as Windows,
  );
};
/** The columns of all pictures side by side, so that none has a gradient of its own. */
const intoFilters: Backward = (dy, { x, attrs }) => {
  const groups = attrs.groups as number;
  const rows = inColumns(x[0]!, attrs as Windows)
    .permute([1, 0, 3, 2])
    .flatten(1, 2);
  return byGroup(dy, groups).matmul(rows).reshape(x[1]!.shape);
};
const product = { name: 'conv2d', saves: [0, 1], backward: [intoPicture, intoFilters] } as const;

export type Conv2dOptions = {
  stride?: number | Pair;
  /** Zeros around x: of rows and columns, or [top, bottom] and [left, right] where these differ. */
  padding?: number | Pair | readonly [Pair, Pair];
  dilation?: number | Pair;
  groups?: number;
  /** The result lies in memory as [N, oh, ow, O], so that pixels as rows, `y.flatten(2).transpose(1, 2)`, are no copy. */
  memory_format?: 'channels_last';
};

/** x [N, C, H, W] with weight [O, C / groups, kh, kw]: [N, O, oh, ow], as torch.nn.functional.conv2d. Sums in f32. */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: Conv2dOptions = {}): Tensor {
  checkTensors('conv2d', { x, weight }, { bias });
  checkOptions('conv2d', options, '{ stride: 2 }');
  const { groups = 1 } = options;
  checkList('conv2d', 'groups', [groups], 1);
  const pair = (name: string, v: number | Pair, least: number): Pair => {
    const both = typeof v === 'number' ? ([v, v] as const) : v;
    checkList('conv2d', name, both, least);
    if (both.length !== 2) throw new RangeError(`[conv2d] ${name}: got [${both}], want a number or two`);
    return both;
  };
  const [O, I, kh, kw] = weight.shape as Four;
  if (x.rank !== 4 || weight.rank !== 4 || x.shape[1] !== I * groups || O % groups !== 0) {
    throw new RangeError(
      `[conv2d] shapes: got x ${show(x.shape)}, weight ${show(weight.shape)}, groups ${groups}; want x [N, C, H, W], weight [O, C / groups, kh, kw]`,
    );
  }
  if (bias && (bias.rank !== 1 || bias.shape[0] !== O)) {
    throw new RangeError(`[conv2d] bias: got ${show(bias.shape)}, want [${O}]`);
  }
  const { stride = 1, padding = 0, dilation = 1, memory_format } = options;
  if (memory_format !== undefined && memory_format !== 'channels_last')
    throw new RangeError(`[conv2d] memory_format: got ${describe(memory_format)}, want channels_last or none`);
  const around = Array.isArray(padding) ? padding : [padding, padding];
  const [rows, columns] = [0, 1].map((i) => pair('padding', around[i]!, 0)) as [Pair, Pair];
  const w: Windows = {
    kernel: [kh, kw],
    stride: pair('stride', stride, 1),
    padding: [rows[0], columns[0]],
    dilation: pair('dilation', dilation, 1),
    groups,
  };
  const size = [rows, columns].map(([before, after], i) => {
    const free = x.shape[2 + i]! + before + after - w.dilation[i]! * (w.kernel[i]! - 1) - 1;
    return Math.floor(free / w.stride[i]!) + 1;
  });
  if (size.some((n) => n < 1))
    throw new RangeError(`[conv2d] x: got ${show(x.shape)}, smaller than the kernel ${kh} x ${kw}`);
  const shape = [x.shape[0]!, O, ...size];
  const small = upsampledFrom(x);
  const made = () => {
    if (apart(w) && rows[1] + columns[1] === 0) {
      const [matrix, windows] = [filters(weight, groups), inColumns(x, w)];
      const y =
        memory_format && groups === 1
          ? windows.transpose(-1, -2).matmul(matrix.transpose(-1, -2), 'f32').transpose(-1, -2)
          : matrix.matmul(windows, 'f32');
      return composite(product, [x, weight], y.reshape(shape), w);
    }
    if (!small) return forward([x, weight], { ...w, shape });
    const repeated = x.shape.slice(2) as unknown as Pair;
    return composite(rules, [x, weight], forward([small, weight], { ...w, shape, spread: [2, 2], repeated }), w);
  };
  const y = made();
  if (!memory_format) return (bias ? y.add(bias.reshape([O, 1, 1])) : y).to(x.dtype);
  const pixels = y.permute([0, 2, 3, 1]).contiguous();
  return (bias ? pixels.add(bias) : pixels).to(x.dtype).permute([0, 3, 1, 2]);
}
