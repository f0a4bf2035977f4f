// Views: another shape and layout of the same storage. Nothing moves until a kernel needs the elements in order.
import { checkList, checkNumber, checkTensors, dimOf } from '../tensor/check.ts';
import { type Attrs, type Backward, op } from '../tensor/op.ts';
import { axis, broadcastShapes, type Layout, numel, type Shape, show, viewAs } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { unslice } from './unslice.ts';

type Lay = { shape: Shape; layout: Layout };

/** A view op: `lay` states its shape and layout from the layout of its input. */
const view = <A extends Attrs>(name: string, lay: (x: Tensor, attrs: A) => Lay, backward: Backward) =>
  op<A & { from: Shape }>({ name, view: true, backward: [backward] }, ([x], attrs) => ({
    ...lay(x!, attrs),
    dtype: x!.dtype,
  }));

const reshapeNode = view<{ shape: Shape }>(
  'reshape',
  (x, { shape }) => ({ shape, layout: viewAs(x.shape, x.layout, shape)! }),
  (dy, { attrs }) => reshape(dy, attrs.from),
);
/** The same elements in another shape; one size may be -1. Copies where the layout cannot show it. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensors('reshape', { x });
  checkList('reshape', 'shape', shape, -1);
  const known = shape.reduce((n, d) => (d === -1 ? n : n * d), 1);
  const full = shape.map((d) => (d === -1 ? x.size / known : d));
  const wrong = numel(full) !== x.size || shape.filter((d) => d === -1).length > 1 || !full.every(Number.isInteger);
  if (wrong) throw new RangeError(`[reshape] shape: got ${show(shape)} for ${x.size} elements of ${show(x.shape)}`);
  if (show(full) === show(x.shape)) return x;
  const source = viewAs(x.shape, x.layout, full) ? x : x.contiguous();
  return reshapeNode([source], { shape: full, from: x.shape });
}

const permuteNode = view<{ order: readonly number[] }>(
  'permute',
  (x, { order }) => ({
    shape: order.map((d) => x.shape[d]!),
    layout: { strides: order.map((d) => x.layout.strides[d]!), offset: x.layout.offset },
  }),
  (dy, { attrs }) =>
    permute(
      dy,
      attrs.order.map((_: number, i: number) => attrs.order.indexOf(i)),
    ),
);
/** Dimensions in another order: dimension i of the result is dimension order[i] of x. */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  checkList('permute', 'order', order);
  const dims = order.map((d) => dimOf('permute', x, d));
  if (new Set(dims).size !== x.rank || dims.length !== x.rank) {
    throw new RangeError(`[permute] order: got [${order.join(', ')}], want each of the ${x.rank} dimensions once`);
  }
  return permuteNode([x], { order: dims, from: x.shape });
}
/** Two dimensions swapped. */
export function transpose(x: Tensor, dim0: number, dim1: number): Tensor {
  const [a, b] = [dimOf('transpose', x, dim0), dimOf('transpose', x, dim1)];
  return permute(
    x,
    x.shape.map((_, i) => (i === a ? b : i === b ? a : i)),
  );
}

const expandNode = view<{ shape: Shape }>(
  'expand',
  (x, { shape }) => {
    const lead = shape.length - x.rank;
    const strides = shape.map((d, i) =>
      i < lead || (x.shape[i - lead] === 1 && d !== 1) ? 0 : x.layout.strides[i - lead]!,
    );
    return { shape, layout: { strides, offset: x.layout.offset } };
  },
  (dy, { attrs }) => {
    const lead = dy.rank - attrs.from.length;
    const dims = dy.shape.flatMap((d, i) => (i < lead || (attrs.from[i - lead] === 1 && d !== 1) ? [i] : []));
    return reshape(dims.length > 0 ? dy.sum(dims, true) : dy, attrs.from);
  },
);
/** Broadcast to a shape: sizes of 1 and missing leading dimensions repeat. */
export function expand(x: Tensor, shape: Shape): Tensor {
  checkTensors('expand', { x });
  checkList('expand', 'shape', shape, 0);
  if (show(shape) === show(x.shape)) return x;
  if (show(broadcastShapes('expand', x.shape, shape)) !== show(shape)) {
    throw new RangeError(`[expand] shape: got ${show(shape)} for ${show(x.shape)}, which does not broadcast to it`);
  }
  return expandNode([x], { shape, from: x.shape });
}

const sliceNode = view<{ dim: number; start: number; end: number; step: number }>(
  'slice',
  (x, { dim, start, end, step }) => ({
    shape: x.shape.map((d, i) => (i === dim ? Math.max(0, Math.ceil((end - start) / step)) : d)),
    layout: {
      strides: x.layout.strides.map((s, i) => (i === dim ? s * step : s)),
      offset: x.layout.offset + start * x.layout.strides[dim]!,
    },
  }),
  (dy, { attrs: { dim, start, step, from } }) => unslice(dy, dim, start, step, from[dim]),
);
/** Elements start, start + step, ... before end along a dimension; negative bounds count from the end. */
export function slice(x: Tensor, dim: number, start = 0, end = Number.POSITIVE_INFINITY, step = 1): Tensor {
  const d = dimOf('slice', x, dim);
  const size = x.shape[d]!;
  if (!Number.isInteger(step) || step < 1) throw new RangeError(`[slice] step: got ${step}, want a positive integer`);
  for (const v of [start, end]) {
    if (!Number.isInteger(v) && v !== Number.POSITIVE_INFINITY)
      throw new RangeError(`[slice] bounds: got ${v}, want integers`);
  }
  const bound = (v: number) => Math.min(size, Math.max(0, v < 0 ? v + size : v));
  const [from, to] = [bound(start), bound(end)];
  if (from === 0 && to === size && step === 1) return x;
  return sliceNode([x], { dim: d, start: from, end: Math.max(from, to), step, from: x.shape });
}
const flipNode = view<{ dim: number }>(
  'flip',
  (x, { dim }) => ({
    shape: x.shape,
    layout: {
      strides: x.layout.strides.map((s, i) => (i === dim ? -s : s)), // places are counted modulo 2^32
      offset: x.layout.offset + (x.shape[dim]! - 1) * x.layout.strides[dim]!,
    },
  }),
  (dy, { attrs }) => flip(dy, attrs.dim),
);
/** The other way round along a dimension; nothing moves. */
export function flip(x: Tensor, dim: number): Tensor {
  const d = dimOf('flip', x, dim);
  return x.shape[d]! > 1 ? flipNode([x], { dim: d, from: x.shape }) : x;
}
/** `length` elements from `start` on along a dimension. */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  const d = dimOf('narrow', x, dim);
  checkNumber('narrow', 'start', start);
  checkNumber('narrow', 'length', length);
  const size = x.shape[d]!;
  if (start < 0 || length < 0 || start + length > size) {
    throw new RangeError(`[narrow] dim ${dim}: got ${start}..${start + length}, want within 0..${size}`);
  }
  return slice(x, d, start, start + length);
}
/** Element `index` along a dimension, which disappears. */
export function select(x: Tensor, dim: number, index: number): Tensor {
  const d = dimOf('select', x, dim);
  checkNumber('select', 'index', index);
  const i = index < 0 ? index + x.shape[d]! : index;
  return squeeze(narrow(x, d, i, 1), d);
}
/** Parts of `size` along a dimension (the last may be smaller), or of the sizes listed. */
export function split(x: Tensor, size: number | readonly number[], dim = 0): Tensor[] {
  const d = dimOf('split', x, dim);
  const total = x.shape[d]!;
  checkList('split', 'size', typeof size === 'number' ? [size] : size, typeof size === 'number' ? 1 : 0);
  const sizes =
    typeof size === 'number'
      ? Array.from({ length: Math.ceil(total / size) }, (_, i) => Math.min(size, total - i * size))
      : size;
  if (sizes.reduce((n, s) => n + s, 0) !== total) {
    throw new RangeError(`[split] sizes: got [${sizes.join(', ')}], want a sum of ${total}`);
  }
  let start = 0;
  return sizes.map((s) => narrow(x, d, (start += s) - s, s));
}

/** Without a dimension of size 1, or without all of them. */
export function squeeze(x: Tensor, dim?: number): Tensor {
  checkTensors('squeeze', { x });
  const d = dim === undefined ? undefined : dimOf('squeeze', x, dim);
  return reshape(
    x,
    x.shape.filter((size, i) => size !== 1 || (d !== undefined && i !== d)),
  );
}
/** With a new dimension of size 1 before `dim`. */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  checkTensors('unsqueeze', { x });
  const d = axis('unsqueeze', dim, x.rank + 1);
  return reshape(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]);
}
/** Dimensions start..end as one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  checkTensors('flatten', { x });
  if (x.rank === 0) return reshape(x, [1]);
  const [a, b] = [dimOf('flatten', x, start), dimOf('flatten', x, end)];
  if (a > b)
    throw new RangeError(`[flatten] got dimensions ${start}..${end} of ${show(x.shape)}, want the first first`);
  return reshape(x, [...x.shape.slice(0, a), numel(x.shape.slice(a, b + 1)), ...x.shape.slice(b + 1)]);
}
