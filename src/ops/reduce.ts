// Sums and extremes along dimensions.
import reduceShader from '../../shaders/reduce.wgsl';
import { constOf, kernel } from '../exec/kernel.ts';
import { checkList, checkTensors } from '../tensor/check.ts';
import { type DType, isFloat, plain } from '../tensor/dtype.ts';
import { type Backward, type Op, op } from '../tensor/op.ts';
import { axis, numel, show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { full } from './create.ts';
import { inOrder } from './elementwise-family.ts';
import { longPasses, rowThreads } from './row.ts';

const reduceRows = kernel(reduceShader);
const SEGMENT = constOf(reduceShader, 'SEGMENT'); // elements that one thread reduces; part of the canonical order

/** A reduction of each segment of the rows of a contiguous [rows, cols]: [rows, segments]. */
const reduction = (name: string, changes: Record<string, string>, saves: Op['saves'], backward: Op['backward']) =>
  op(
    {
      name,
      prologue: [0],
      saves: saves ?? [],
      backward,
      dispatch: ([x], y, _, capabilities) => {
        const [, cols] = x!.shape as [number, number];
        const own = { ...changes, WG: rowThreads(capabilities), LONG: longPasses(x!, capabilities) };
        const params = { n: y.size, cols, segments: y.shape[1]! };
        const aligned = cols % 4 === 0 ? ['x'] : [];
        return [reduceRows({ x: x!, y }, { params, groups: Math.ceil(y.size / own.WG), aligned, changes: own })];
      },
    },
    ([x]) => ({ shape: [x!.shape[0]!, Math.ceil(x!.shape[1]! / SEGMENT)], dtype: 'f32' }),
  );

/** dy of each segment to all of its elements. */
const spread = (dy: Tensor, like: Tensor) => {
  const [n, cols] = like.shape as [number, number];
  const segments = dy.shape[1]!;
  if (segments === 1) return dy.expand([n, cols]);
  return dy.unsqueeze(-1).expand([n, segments, SEGMENT]).reshape([n, -1]).narrow(1, 0, cols);
};

const sumRows = reduction('sum', {}, [0], [(dy, { x }) => spread(dy, x[0]!)]);
/** Elements equal to the extreme, which has one column, share its gradient evenly, as in torch.amax. */
const share =
  (input: number): Backward =>
  (dy, { x, y }) => {
    const hit = x[input]!.eq(y).to('f32');
    return hit.mul(dy.div(hit.sum(1, true)));
  };
/** Extremes of rows. Of long ones the last step also has the rows as an input, and gives all of the gradient to them. */
function extreme(name: string, meet: string): (rows: Tensor) => Tensor {
  const changes = { meet, start: 'start_any' };
  const none: Backward = (_, { x }) => x[0]!.zeros_like();
  const once = reduction(name, changes, [0, 'y'], [share(0)]);
  const part = reduction(name, changes, [0], [none]);
  const last = reduction(name, changes, [0, 1, 'y'], [none, share(1)]);
  return (rows) => {
    if (rows.shape[1]! <= SEGMENT) return once([rows]);
    let parts = rows;
    while (parts.shape[1]! > SEGMENT) parts = part([parts]);
    return last([parts, rows]);
  };
}
const maxRows = extreme('max', 'maximum');
const minRows = extreme('min', 'minimum');

export type Dims = number | readonly number[];

/** Brings the reduced dimensions together as rows, reduces until one element of each is left, and gives it its shape. */
function along(
  name: string,
  given: Tensor,
  dims: Dims | undefined,
  keepdim: boolean,
  reduce: (rows: Tensor) => Tensor,
): Tensor {
  checkTensors(name, { x: given });
  const x = given.to('f32');
  const list = dims === undefined ? x.shape.map((_, i) => i) : typeof dims === 'number' ? [dims] : dims;
  checkList(name, 'dim', list);
  const reduced = new Set(list.map((d) => axis(name, d, x.rank)));
  const kept = x.shape.flatMap((_, i) => (reduced.has(i) ? [] : [i]));
  const outer = kept.map((d) => x.shape[d]!);
  const cols = numel([...reduced].map((d) => x.shape[d]!));
  const shape = keepdim ? x.shape.map((d, i) => (reduced.has(i) ? 1 : d)) : outer;
  if (x.size === 0) {
    if (cols === 0 && name !== 'sum') throw new RangeError(`[${name}] x: got ${show(x.shape)}, nothing to reduce`);
    return full(shape, 0);
  }
  let rows = inOrder(x.permute([...kept, ...reduced])).reshape([numel(outer), cols]); // read where it lies
  do rows = reduce(rows);
  while (rows.shape[1]! > 1);
  return rows.reshape(shape);
}

const integral = (dtype: DType) => !isFloat(plain(dtype));

/** Sum over some dimensions, or all. Integers are added as f32: exact up to 2^24. */
export function sum(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  const y = along('sum', x, dim, keepdim, (rows) => sumRows([rows]));
  return y.to(integral(x.dtype) ? 'i32' : plain(x.dtype));
}
/** Mean over some dimensions, or all, in f32 or f16. */
export function mean(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  checkTensors('mean', { x });
  const y = sum(x.to('f32'), dim, keepdim); // halves would overflow
  return y.div(x.size / y.size).to(isFloat(x.dtype) ? x.dtype : 'f32');
}
/** Largest element along some dimensions, or of all; NaN where there is one. Integers are exact up to 2^24. */
export function max(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  return along('max', x, dim, keepdim, maxRows).to(plain(x.dtype));
}
/** Smallest element along some dimensions, or of all; NaN where there is one. Integers are exact up to 2^24. */
export function min(x: Tensor, dim?: Dims, keepdim = false): Tensor {
  return along('min', x, dim, keepdim, minRows).to(plain(x.dtype));
}
