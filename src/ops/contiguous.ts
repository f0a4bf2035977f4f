// Elements brought into order in memory.
import transposeShader from '../../shaders/transpose.wgsl';
import { constOf, kernel } from '../exec/kernel.ts';
import { checkTensors } from '../tensor/check.ts';
import { type Attrs, op } from '../tensor/op.ts';
import { collapse } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { inOrder } from './elementwise-family.ts';

const run = kernel(transposeShader);
const WG = constOf(transposeShader, 'WG');
const T = { f32: 'vec4f', i32: 'vec4i', u32: 'vec4u' };

/** A view as [outer, deep, middle, last], of which `deep` is together in memory, with the strides of the others. */
type Turned = Record<'outer' | 'deep' | 'middle' | 'last' | 'x_outer' | 'x_middle' | 'x_last', number>;

/** The view so, or null: the last dimension is together already, or there are more dimensions. */
function turned({ shape, layout }: Tensor): Turned | null {
  const { size, stride } = collapse(shape, layout.strides);
  const last = size.length - 1;
  const deep = stride.indexOf(1);
  if (deep < 0 || deep === last || deep > 1 || last - deep > 2) return null;
  const [outer, middle] = [deep > 0, last - deep > 1];
  return {
    outer: outer ? size[0]! : 1,
    x_outer: outer ? stride[0]! : 0,
    deep: size[deep]!,
    middle: middle ? size[last - 1]! : 1,
    x_middle: middle ? stride[last - 1]! : 0,
    last: size[last]!,
    x_last: stride[last]!,
  };
}

const transposed = op(
  {
    name: 'transpose',
    backward: [(dy) => dy],
    dispatch: ([x], y) => {
      const view = turned(x!)!;
      const x_offset = x!.layout.offset;
      const quads = (...list: number[]) => list.every((n) => n % 4 === 0);
      const aligned = [
        ...(quads(x_offset, view.x_outer, view.x_middle, view.x_last) ? ['x'] : []),
        ...(quads(view.last) ? ['y'] : []),
      ];
      const blocks = view.outer * view.middle * Math.ceil(view.deep / 4) * Math.ceil(view.last / 4);
      const changes = { T: T[x!.dtype as keyof typeof T] };
      return [run({ x: x!, y }, { params: { ...view, x_offset }, groups: Math.ceil(blocks / WG), aligned, changes })];
    },
  },
  ([x], { dtype }: Attrs) => ({ shape: x!.shape, dtype }),
);

/** The same tensor with its elements in order in memory: itself if they are. What is quantised becomes f32. */
export function contiguous(x: Tensor): Tensor {
  checkTensors('contiguous', { x });
  const { dtype } = x;
  const isTurned = x.base.scalar === null && x.size > 0 && dtype in T && turned(x) !== null;
  return isTurned ? transposed([x], { dtype }) : inOrder(x);
}
