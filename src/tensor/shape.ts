// Shapes and strided layouts: what is where, without touching data.

export type Shape = readonly number[];

/** Element (i, j, ...) of a tensor lies at offset + i * strides[0] + j * strides[1] + ... of its storage, in elements. */
export type Layout = { readonly strides: readonly number[]; readonly offset: number };

export const numel = (shape: Shape) => shape.reduce((n, d) => n * d, 1);

export const contiguousStrides = (shape: Shape) => {
  const strides = new Array<number>(shape.length);
  for (let i = shape.length - 1, step = 1; i >= 0; step *= shape[i]!, i--) strides[i] = step;
  return strides;
};

export const contiguousLayout = (shape: Shape): Layout => ({ strides: contiguousStrides(shape), offset: 0 });

/** True when the elements lie in order from the start of the storage; dimensions of size 1 do not count. */
export function isContiguous(shape: Shape, layout: Layout): boolean {
  if (numel(shape) === 0) return true;
  const want = contiguousStrides(shape);
  return layout.offset === 0 && shape.every((d, i) => d === 1 || layout.strides[i] === want[i]);
}

/** `dim` counted from the front; -1 is the last. */
export function axis(op: string, dim: number, rank: number): number {
  const d = Number.isInteger(dim) && dim < 0 ? dim + rank : dim;
  if (!Number.isInteger(dim) || d < 0 || d >= rank) {
    throw new RangeError(
      `[${op}] dim: got ${String(dim)}, want ${rank === 0 ? 'a tensor with dimensions' : `${-rank}..${rank - 1}`}`,
    );
  }
  return d;
}

/** The shape two shapes broadcast to, as in NumPy. */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new RangeError(`[${op}] shapes do not broadcast: got ${show(a)} and ${show(b)}`);
    return x === 1 ? y : x;
  });
}

export const show = (shape: Shape) => `[${shape.join(', ')}]`;

/** Sizes and strides with neighbours that lie one behind the other merged and sizes of 1 dropped; at least one dimension. */
export function collapse(shape: Shape, strides: readonly number[]): { size: number[]; stride: number[] } {
  const size: number[] = [];
  const stride: number[] = [];
  shape.forEach((d, i) => {
    if (d === 1) return;
    const s = strides[i]!;
    const last = size.length - 1;
    if (last >= 0 && stride[last] === s * d) {
      size[last]! *= d;
      stride[last] = s;
    } else {
      size.push(d);
      stride.push(s);
    }
  });
  return size.length > 0 ? { size, stride } : { size: [1], stride: [0] };
}

/** The layout of a reshape without moving data, or null where there is none. */
export function viewAs(shape: Shape, layout: Layout, to: Shape): Layout | null {
  if (numel(shape) === 0) return contiguousLayout(to);
  const { size, stride } = collapse(shape, layout.strides);
  const strides = new Array<number>(to.length).fill(0);
  let k = size.length - 1; // the merged dimension being cut up, from the inside
  let left = size[k]!;
  let step = stride[k]!;
  for (let i = to.length - 1; i >= 0; i--) {
    const d = to[i]!;
    if (d === 1) continue;
    if (left === 1 && k > 0) {
      k--;
      left = size[k]!;
      step = stride[k]!;
    }
    if (left % d !== 0) return null;
    strides[i] = step;
    step *= d;
    left /= d;
  }
  return { strides, offset: layout.offset };
}
