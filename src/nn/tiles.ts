// A picture through a network in overlapping tiles, blended where they meet (diffusers' AutoencoderKL): far less memory, and
// not the same picture, as a tile knows nothing of the others.
import { arange, concat } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

export type Tiles = {
  /** Side of a tile of the input, and of what becomes of it. */
  from: number;
  to: number;
  /** Share of a tile that overlaps the next. */
  overlap: number;
};

/** x with its first `extent` places along `dim` faded over from the last of `before`. */
function blend(before: Tensor, x: Tensor, dim: number, most: number): Tensor {
  const [there, here] = [before.shape[dim]!, x.shape[dim]!];
  const extent = Math.min(there, here, most);
  if (extent === 0) return x;
  const share = arange(extent, 'f32')
    .div(extent)
    .reshape(dim === 2 ? [extent, 1] : [extent]);
  const old = before.narrow(dim, there - extent, extent).mul(share.neg().add(1));
  return concat([old.add(x.narrow(dim, 0, extent).mul(share)), x.narrow(dim, extent, here - extent)], dim);
}

/** `apply` on tiles of x [N, C, H, W], side by side again. */
export function inTiles(x: Tensor, apply: (tile: Tensor) => Tensor, { from, to, overlap }: Tiles): Tensor {
  const [, , H, W] = x.shape as [number, number, number, number];
  const step = Math.max(1, Math.floor(from * (1 - overlap)));
  const extent = Math.floor(to * overlap);
  const places = (size: number) => Array.from({ length: Math.ceil(size / step) }, (_, i) => i * step);
  const cut = (t: Tensor, dim: number, start: number, size: number) =>
    t.narrow(dim, start, Math.min(size, t.shape[dim]! - start));
  const tiles: Tensor[][] = [];
  for (const [i, top] of places(H).entries()) {
    const row: Tensor[] = [];
    for (const [j, left] of places(W).entries()) {
      let tile = apply(cut(cut(x, 2, top, from), 3, left, from));
      if (i > 0) tile = blend(tiles[i - 1]![j]!, tile, 2, extent);
      if (j > 0) tile = blend(row[j - 1]!, tile, 3, extent);
      row.push(tile);
    }
    tiles.push(row);
  }
  const kept = to - extent;
  const rows = tiles.map((row) =>
    concat(
      row.map((tile) => cut(cut(tile, 2, 0, kept), 3, 0, kept)),
      3,
    ),
  );
  return concat(rows, 2);
}
