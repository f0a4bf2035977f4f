// Putting tensors side by side.
import concatShader from '../../shaders/concat.wgsl';
import { constOf, type Dispatch, kernel } from '../exec/kernel.ts';
import { checkTensorList } from '../tensor/check.ts';
import { promote } from '../tensor/dtype.ts';
import { type Backward, type Op, op } from '../tensor/op.ts';
import { axis, numel, type Shape, show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

const copyRows = kernel(concatShader);
const WG = constOf(concatShader, 'WG');

/** One dispatch: `part` goes into `y` at `start` of dimension `dim`. */
export function place(part: Tensor, y: Tensor, dim: number, start: number | Tensor): Dispatch {
  const inner = numel(y.shape.slice(dim + 1));
  const block = inner * part.shape[dim]!;
  const total = inner * y.shape[dim]!;
  const unit = inner % 4 === 0 || (block % 4 === 0 && total % 4 === 0 && start === 0) ? 4 : 1;
  const params = { n: part.size / unit, block: block / unit, total: total / unit, inner: inner / unit, start };
  const moved = part.dtype !== 'f32' ? 'moved' : unit === 4 ? 'moved_quad' : 'moved_one';
  const changes = { E: unit === 4 ? 'vec4u' : 'u32', moved };
  const atMost = { start: y.shape[dim]! - part.shape[dim]! };
  const aligned = unit === 4 ? ['x'] : [];
  return copyRows({ x: part, y }, { params, atMost, groups: Math.ceil(params.n / WG), aligned, changes });
}

type Attrs = { dim: number; sizes: number[] };
const definition: Omit<Op, 'backward'> = {
  name: 'concat',
  apart: true,
  dispatch: (x, y, { dim }) => {
    let start = 0;
    return x.map((part) => place(part, y, dim, (start += part.shape[dim]!) - part.shape[dim]!));
  },
};
/** Each input gets its part of dy. */
const partOf =
  (i: number): Backward =>
  (dy, { attrs: { dim, sizes } }) => {
    const start = sizes.slice(0, i).reduce((n: number, s: number) => n + s, 0);
    return dy.narrow(dim, start, sizes[i]);
  };

const nodes: ReturnType<typeof op<Attrs>>[] = [];
/** The op of so many inputs; always the same object, which plans are found by. */
const nodeOf = (count: number) =>
  (nodes[count] ??= op<Attrs>(
    { ...definition, backward: Array.from({ length: count }, (_, i) => partOf(i)) },
    (x, { dim, sizes }) => ({
      shape: x[0]!.shape.map((s, i) => (i === dim ? sizes.reduce((n, size) => n + size, 0) : s)),
      dtype: x[0]!.dtype,
    }),
  ));

/** Tensors one behind the other along a dimension. */
export function concat(tensors: readonly Tensor[], dim = 0): Tensor {
  checkTensorList('concat', 'tensors', tensors);
  const [first] = tensors;
  if (!first) throw new RangeError('[concat] tensors: got none, want at least one');
  const d = axis('concat', dim, first.rank);
  const others = (shape: Shape) => show(shape.map((s, i) => (i === d ? -1 : s)));
  for (const t of tensors) {
    if (others(t.shape) !== others(first.shape)) {
      throw new RangeError(
        `[concat] shapes: got ${show(t.shape)} beside ${show(first.shape)}, want them equal but in dim ${d}`,
      );
    }
  }
  const dtype = tensors.map((t) => t.dtype).reduce(promote);
  const stored = dtype === 'f16' ? 'f32' : dtype; // f16 is written in pairs; rows of odd length would share one
  const parts = tensors.filter((t) => t.shape[d]! > 0).map((t) => t.to(stored).contiguous());
  if (parts.length <= 1) return (parts[0] ?? first).to(dtype);
  return nodeOf(parts.length)(parts, { dim: d, sizes: parts.map((t) => t.shape[d]!) }).to(dtype);
}

/** Tensors of one shape along a new dimension. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  checkTensorList('stack', 'tensors', tensors);
  return concat(
    tensors.map((t) => t.unsqueeze(dim)),
    dim,
  );
}
