// How LLaVA cuts a large picture into tiles of the size that its tower sees. Reference: llava/mm_utils.py and llava_arch.py of
// https://github.com/haotian-liu/LLaVA. Sizes are [width, height].

export type Size = readonly [width: number, height: number];

/** What the configs of the original repository say of tiles. */
export type Tiling = {
  /** square, pad (to a square), or anyres, which makes tiles. */
  image_aspect_ratio?: string | undefined;
  /** Sizes that are cut into tiles. */
  image_grid_pinpoints?: readonly Size[] | undefined;
  /** flat, spatial, or spatial_unpad: without the bars beside the picture, and the end of each row marked. */
  mm_patch_merge_type?: string | undefined;
};

/** Of the sizes that are allowed, the one that keeps most of a picture, and of those the one that wastes least. */
export function select_best_resolution([width, height]: Size, possible: readonly Size[]): Size {
  let best: Size | undefined;
  let [most, least] = [0, Number.POSITIVE_INFINITY];
  for (const [w, h] of possible) {
    const scale = Math.min(w / width, h / height);
    const kept = Math.min(Math.trunc(width * scale) * Math.trunc(height * scale), width * height);
    const wasted = w * h - kept;
    if (kept < most || (kept === most && wasted >= least)) continue;
    [best, most, least] = [[w, h], kept, wasted];
  }
  return best ?? possible[0]!;
}

/** How many tiles of `side` pixels lie side by side and one above the other. */
export function get_anyres_image_grid_shape(size: Size, possible: readonly Size[], side: number): Size {
  const [width, height] = select_best_resolution(size, possible);
  return [Math.floor(width / side), Math.floor(height / side)];
}

/** The rows and columns [from, to) of a grid [rows, columns] that show a picture and not the bars beside it. */
export function unpadded([width, height]: Size, [rows, columns]: readonly [number, number]) {
  if (width / height > columns / rows) {
    const bar = Math.floor((rows - Math.trunc(height * (columns / width))) / 2);
    return { rows: [bar, rows - bar] as const, columns: [0, columns] as const };
  }
  const bar = Math.floor((columns - Math.trunc(width * (rows / height))) / 2);
  return { rows: [0, rows] as const, columns: [bar, columns - bar] as const };
}

/**
 * Of tiles of `image_size` pixels and `n` tokens: how many lie side by side and one above the other, and which rows and columns
 * of their tokens show the picture. `side`: tokens along a tile.
 */
export function tileGrid(size: Size, n: number, { image_grid_pinpoints = [] }: Tiling, image_size: number) {
  const [across, down] = get_anyres_image_grid_shape(size, image_grid_pinpoints, image_size);
  const side = Math.floor(Math.sqrt(n));
  return { across, down, side, ...unpadded(size, [down * side, across * side]) };
}

/** Tiles of a picture, and tokens of all. */
export function tileCounts(size: Size, n: number, tiling: Tiling, image_size: number) {
  const { image_aspect_ratio, mm_patch_merge_type = 'flat' } = tiling;
  if (image_aspect_ratio !== 'anyres') return { tiles: 1, tokens: n };
  const { across, down, rows, columns } = tileGrid(size, n, tiling, image_size);
  const tiles = 1 + across * down;
  if (!mm_patch_merge_type.includes('unpad')) return { tiles, tokens: tiles * n };
  return { tiles, tokens: n + (rows[1] - rows[0]) * (columns[1] - columns[0] + 1) };
}
