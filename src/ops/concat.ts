// Putting tensors side by side; padding is that with constants.
import concatShader from '../../shaders/concat.wgsl';
import { constOf, type Dispatch, kernel } from '../exec/kernel.ts';
import { promote } from '../tensor/dtype.ts';
import { type Backward, type Op, op } from '../tensor/op.ts';
import { axis, numel, type Shape, show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { full, scalar } from './create.ts';

const copyRows = kernel(concatShader);
const WG = constOf(concatShader, 'WG');

/** One dispatch: `part` goes into `y` at `start` of dimension `dim`. */
function place(part: Tensor, y: Tensor, dim: number, start: number | Tensor): Dispatch {
  const inner = numel(y.shape.slice(dim + 1));
  const block = inner * part.shape[dim]!;
  const total = inner * y.shape[dim]!;
  const unit = inner % 4 === 0 || (block % 4 === 0 && total % 4 === 0 && start === 0) ? 4 : 1;
  const params = { n: part.size / unit, block: block / unit, total: total / unit, inner: inner / unit, start };
  const changes = { E: unit === 4 ? 'vec4u' : 'u32' };
  const atMost = { start: y.shape[dim]! - part.shape[dim]! };
  return copyRows({ x: part, y }, { params, atMost, groups: Math.ceil(params.n / WG), changes });
}

type Attrs = { dim: number; sizes: number[] };
const definition: Omit<Op, 'backward'> = {
  name: 'concat',
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
export const stack = (tensors: readonly Tensor[], dim = 0): Tensor =>
  concat(
    tensors.map((t) => t.unsqueeze(dim)),
    dim,
  );

/**
 * With `value` around it: [before, after] of the last dimension, then of the one before it, and so on, as in
 * torch.nn.functional.pad. Negative numbers cut.
 */
export function pad(x: Tensor, padding: readonly number[], value = 0): Tensor {
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

/** The opposite of a slice: x at start, start + step, ... of a dimension of `size`, zeros elsewhere. */
export function unslice(x: Tensor, dim: number, start: number, step: number, size: number): Tensor {
  const d = axis('unslice', dim, x.rank);
  const gaps = full([...x.shape.slice(0, d + 1), step - 1, ...x.shape.slice(d + 1)], 0, x.dtype);
  const spaced = step === 1 ? x : concat([x.unsqueeze(d + 1), gaps], d + 1).flatten(d, d + 1);
  const around = [start, size - start - spaced.shape[d]!];
  return pad(spaced, [...new Array(2 * (x.rank - 1 - d)).fill(0), ...around]);
}

const write = op(
  {
    name: 'overwrite',
    overwrites: true,
    backward: null,
    dispatch: ([, value, start], y, { dim }) => [place(value!, y, dim, start!.base)],
  },
  ([state]) => ({ shape: state!.shape, dtype: state!.dtype }),
);
/**
 * Puts `value` into `state` at `start` of a dimension, in place: the result has the storage of `state`, whose handle goes
 * stale. `start` may differ from run to run. For caches and running state; there is no gradient.
 */
export function overwrite(state: Tensor, value: Tensor, dim: number, start: number | Tensor): Tensor {
  const d = axis('overwrite', dim, state.rank);
  const fits =
    value.rank === state.rank && value.shape.every((n, i) => (i === d ? n <= state.shape[d]! : n === state.shape[i]));
  if (state.base !== state) throw new RangeError('[overwrite] state: got a view, want the tensor itself, or its copy');
  const known = start instanceof Tensor ? start.base.scalar : start;
  if (known === null) throw new TypeError('[overwrite] start: got a tensor of values, want a number or scalar(...)');
  if (!fits || known < 0 || known + value.shape[d]! > state.shape[d]!) {
    throw new RangeError(
      `[overwrite] got ${show(value.shape)} at ${known} of dim ${d}, want it within ${show(state.shape)}`,
    );
  }
  if (state.dtype === 'f16') throw new TypeError('[overwrite] state: got f16, want a type of four bytes');
  const at = start instanceof Tensor ? start : scalar(start, 'i32');
  return write([state, value.to(state.dtype).contiguous(), at], { dim: d });
}
