// How LLaVA cuts a large picture into tiles of the size that its tower sees. Reference: llava/mm_utils.py and llava_arch.py of
// https://github.com/haotian-liu/LLaVA. Sizes are [width, height].

export type Size = readonly [width: number, height: number];

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
