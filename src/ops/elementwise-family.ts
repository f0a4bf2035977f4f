// Nodes of the elementwise family: each op is one function of shaders/elementwise.wgsl.
import elementwise from '../../shaders/elementwise.wgsl';
import { checkDType, describe } from '../tensor/check.ts';
import { type DType, plain } from '../tensor/dtype.ts';
import { type Attrs, type Op, op } from '../tensor/op.ts';
import { isContiguous } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** The node of a function of as many inputs as it is given, all of the shape of the result. */
export const map = (name: string, fn: string, saves: Op['saves'], backward: Op['backward'], result?: DType) =>
  op({ name, map: { shader: elementwise, fn }, saves: saves ?? [], backward }, (x, attrs: Attrs) => ({
    shape: x[0]!.shape,
    dtype: result ?? (attrs.dtype as DType),
  }));

const copy = map('contiguous', 'to_f32', [], [(dy) => dy]);
const copyInt = { i32: map('contiguous', 'to_i32', [], null), u32: map('contiguous', 'to_u32', [], null) };

/** `contiguous` as an elementwise op: a kernel that reads the result may do the copying. */
export function inOrder(x: Tensor): Tensor {
  if (isContiguous(x.shape, x.layout) && x.base.scalar === null && x.base.size === x.size) return x;
  const dtype = plain(x.dtype);
  return dtype === 'i32' || dtype === 'u32' ? copyInt[dtype]([x], { dtype }) : copy([x], { dtype });
}

const index = op({ name: 'arange', map: { shader: elementwise, fn: 'iota' }, backward: [] }, (_, attrs: Attrs) => ({
  shape: [attrs.n],
  dtype: attrs.dtype,
}));
/** 0, 1, ... n - 1; as f32 exact up to 2^24. Never stored where elementwise ops read it. */
export function arange(n: number, dtype: 'i32' | 'f32' = 'i32'): Tensor {
  if (!Number.isInteger(n) || n < 0)
    throw new RangeError(`[arange] n: got ${describe(n)}, want a whole number from 0 on`);
  checkDType('arange', dtype, ['i32', 'f32']);
  return index([], { n, dtype });
}
