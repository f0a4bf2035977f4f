// Elements by index.
import gatherShader from '../../shaders/gather.wgsl';
import scatterShader from '../../shaders/scatter-add.wgsl';
import { constOf, kernel } from '../exec/kernel.ts';
import { checkTensors, dimOf } from '../tensor/check.ts';
import { isFloat, plain } from '../tensor/dtype.ts';
import { op } from '../tensor/op.ts';
import { numel, type Shape, show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

const run = kernel(gatherShader);
const WG = constOf(gatherShader, 'WG');
const scatter = kernel(scatterShader);
const SCATTER_WG = constOf(scatterShader, 'WG');

const QUAD = { f32: 'vec4f', f16: 'vec4f', bool: 'vec4f', i32: 'vec4i', u32: 'vec4u', q8: 'vec4f', q4: 'vec4f' };

type Attrs = { dim: number; shape: Shape; from: Shape };

/** y[o, j, k] = x[o, index[o, j, k or 0], k]; `index` has the inner dimensions of x, or none of them. */
const gatherNode = op<Attrs>(
  {
    name: 'gather',
    saves: [1],
    backward: [(dy, { x, attrs: { dim, from } }) => scatterNode([dy.contiguous(), x[1]!], { dim, shape: from }), null],
    dispatch: ([x, index], y, { dim }, { software }) => {
      const inner = numel(x!.shape.slice(dim + 1));
      const count = numel(y.shape) / numel(x!.shape.slice(0, dim)) / inner;
      const spread = index!.size === y.size ? inner : 1;
      const together = inner % 4 === 0 && spread === 1;
      const params = { n: y.size, size: x!.shape[dim]!, count, inner, spread };
      const UNIT = together && software && inner % 16 === 0 ? 16 : 4;
      const changes = { T: QUAD[x!.dtype], UNIT, ...(together && { move_each: 'move_together' }) };
      const aligned = together ? ['x', 'y'] : ['y'];
      return [run({ x: x!, index: index!, y }, { params, groups: Math.ceil(y.size / (UNIT * WG)), aligned, changes })];
    },
  },
  ([x], { shape }) => ({ shape, dtype: isFloat(plain(x!.dtype)) ? 'f32' : x!.dtype }),
);

/** What gather transposes to: rows of x added up at their index; those that no index names are 0. */
const scatterNode = op<Omit<Attrs, 'from'>>(
  {
    name: 'scatter_add',
    backward: null, // gradients of gradients are not taken
    dispatch: ([x, index], y, { dim }) => {
      const inner = numel(y.shape.slice(dim + 1));
      const size = y.shape[dim]!;
      const count = x!.size / numel(y.shape.slice(0, dim)) / inner;
      const spread = index!.size === x!.size ? inner : 1;
      const unit = spread === 1 && inner % 4 === 0 ? 4 : 1;
      const n = (y.size / inner) * spread;
      const params = { n, size, count, inner: inner / unit, spread };
      const changes = { E: unit === 4 ? 'vec4f' : 'f32' };
      return [scatter({ x: x!, index: index!, y }, { params, groups: Math.ceil(n / SCATTER_WG), changes })];
    },
  },
  (_, { shape }) => ({ shape, dtype: 'f32' }),
);

const rows = (x: Tensor, index: Tensor, dim: number, shape: Shape): Tensor =>
  gatherNode([x.contiguous(), index.to('i32').contiguous()], { dim, shape, from: x.shape });

/** Where element n of a view lies in its storage. */
function storageIndex({ shape, layout: { strides, offset } }: Tensor, n: number): number {
  let place = offset;
  for (let d = shape.length - 1, rest = n; d >= 0; rest = Math.floor(rest / shape[d]!), d--) {
    place += (rest % shape[d]!) * strides[d]!;
  }
  return place;
}

/** Indices that are still on the host are checked there; a kernel takes those out of range to the nearest. */
function checkIndex(name: string, index: Tensor, size: number): void {
  checkTensors(name, { index });
  if (index.dtype !== 'i32' && index.dtype !== 'u32') {
    throw new TypeError(`[${name}] index: got ${index.dtype}, want i32 or u32`);
  }
  const { host } = index.base;
  for (let n = 0; host && n < index.size; n++) {
    const i = host[storageIndex(index, n)]!;
    if (i < 0 || i >= size) throw new RangeError(`[${name}] index: got ${i}, want 0..${size - 1}`);
  }
}

/** y[i, j, k] = x[i, index[i, j, k], k] for dim 1, and so on, as torch.gather; the other sizes are those of x. */
export function gather(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = dimOf('gather', x, dim);
  checkIndex('gather', index, x.shape[d]!);
  if (index.rank !== x.rank || index.shape.some((n, i) => i !== d && n !== x.shape[i])) {
    throw new RangeError(`[gather] index: got ${show(index.shape)}, want the shape ${show(x.shape)} but for dim ${d}`);
  }
  return rows(x, index, d, index.shape).to(plain(x.dtype));
}

/** Rows of weight [V, D] by ids of any shape: [..., D], in f32 however the weight is stored. */
export function embedding(ids: Tensor, weight: Tensor): Tensor {
  checkTensors('embedding', { ids, weight });
  if (weight.rank !== 2) throw new RangeError(`[embedding] weight: got ${show(weight.shape)}, want [V, D]`);
  checkIndex('embedding', ids, weight.shape[0]!);
  return rows(weight, ids, 0, [...ids.shape, weight.shape[1]!]).to('f32');
}

/** Elements of a dimension in the order of a list of indices. */
export function index_select(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = dimOf('index_select', x, dim);
  checkIndex('index_select', index, x.shape[d]!);
  if (index.rank !== 1) throw new RangeError(`[index_select] index: got ${show(index.shape)}, want one dimension`);
  const front = x.transpose(0, d);
  return rows(front, index, 0, [index.shape[0]!, ...front.shape.slice(1)])
    .transpose(0, d)
    .to(plain(x.dtype));
}
