// Attention of few queries in one kernel, with the bits of the two products and the softmax that others are.
import attendShader from '../../shaders/attend.wgsl';
import { constOf, kernel } from '../exec/kernel.ts';
import { op } from '../tensor/op.ts';
import type { Tensor } from '../tensor/tensor.ts';

const FEW = 4; // queries
const MOST_KEYS = 2048; // whose scores fit into the memory of a workgroup
const THREADS = 64;
const SEGMENT = constOf(attendShader, 'SEGMENT');
const attendKernel = kernel(attendShader);
/** Batch dimensions of more than one. */
const batchOf = (t: Tensor) => t.shape.slice(0, -2).flatMap((size, i) => (size > 1 ? [i] : []));

const attend = op<{ scale: number }>(
  {
    name: 'attend',
    backward: null, // that of the composite around it
    flops: ([q, k], y) => 2 * k!.shape.at(-2)! * (q!.size + y.size),
    dispatch: ([q, k, v, mask], y, { scale }) => {
      const dims = batchOf(q!);
      const [l, d] = q!.shape.slice(-2) as [number, number];
      const s = k!.shape.at(-2)!;
      const sizes = [1, 1, 1, ...dims.map((i) => q!.shape[i]!)].slice(-3) as [number, number, number];
      const strides = (name: string, t: Tensor) => {
        const [outer, middle, inner] = [0, 0, 0, ...dims.map((i) => t.layout.strides[i]!)].slice(-3);
        const all = { offset: t.layout.offset, outer, middle, inner };
        return Object.fromEntries(Object.entries(all).map(([key, value]) => [`${name}_${key}`, value!]));
      };
      const shown = mask ?? q!;
      const params = {
        ...{ rows: y.size / v!.shape.at(-1)!, middle: sizes[1], inner: sizes[2], l, s, d, scale },
        ...{ ...strides('q', q!), q_l: q!.layout.strides.at(-2)! },
        ...{ ...strides('k', k!), k_s: k!.layout.strides.at(-2)! },
        ...{ ...strides('v', v!), v_s: v!.layout.strides.at(-2)! },
        ...{ ...strides('mask', shown), mask_l: shown.layout.strides.at(-2)!, mask_s: shown.layout.strides.at(-1)! },
      };
      const quads = ({ layout: { strides, offset } }: Tensor) =>
        [offset, ...strides.slice(0, -1)].every((n) => n % 4 === 0);
      const aligned = [
        'y',
        ...Object.entries({ qs: q!, ks: k!, vs: v! }).flatMap(([name, t]) => (quads(t) ? [name] : [])),
      ];
      const QUADS = v!.shape.at(-1)! / 4;
      const changes = {
        ...{ QUADS, WG: QUADS * Math.max(1, Math.floor(THREADS / QUADS)), KEYS: Math.ceil(s / SEGMENT) * SEGMENT },
        ...(mask && { seen: 'seen_of_mask' }),
      };
      const bindings = { qs: q!, ks: k!, vs: v!, ...(mask && { mask }), y };
      return [attendKernel(bindings, { params, groups: params.rows, aligned, changes })];
    },
  },
  ([q, , v]) => ({ shape: [...q!.shape.slice(0, -1), v!.shape.at(-1)!], dtype: 'f32' }),
);

/** Few queries, keys that fit, rows of whole quads, and every key shown or hidden. */
function fits([q, k, v]: readonly Tensor[], mask: Tensor | undefined, is_causal: boolean): boolean {
  const [L, D] = q!.shape.slice(-2) as [number, number];
  const E = v!.shape.at(-1)!;
  return (
    [q!, k!, v!].every((t) => t.dtype === 'f32' && t.layout.strides.at(-1) === 1 && t.base.scalar === null) &&
    (mask ? mask.dtype === 'bool' && mask.base.scalar === null : true) &&
    (!is_causal || L === 1) &&
    q!.size > 0 &&
    L <= FEW &&
    k!.shape.at(-2)! > 0 &&
    k!.shape.at(-2)! <= MOST_KEYS &&
    D > 0 &&
    D % 4 === 0 &&
    E > 0 &&
    E % 4 === 0 &&
    E <= 128 &&
    batchOf(q!).length <= 3
  );
}

/** softmax(q k^T scale + mask) v of operands that are expanded to one batch, where the kernel can do it. */
export const ofFew = (x: Tensor[], mask: Tensor | undefined, scale: number, is_causal: boolean): Tensor | undefined =>
  fits(x, mask, is_causal) ? attend(mask ? [...x, mask] : x, { scale }) : undefined;
