// What is seen behind a drawing.
import type { Pixels } from '../src/io/pixels.ts';
import { COLOUR_NAMES, COLOURS } from '../src/world/index.ts';

const EDGE = 3; // as weights/recipes/diffusion_score.py has it

/** The colour that is nearest to the mean of the border. */
export function backgroundOf({ width, height, data }: Pixels): string {
  const sum = [0, 0, 0];
  let count = 0;
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    if (Math.min(x, y, width - 1 - x, height - 1 - y) >= EDGE) continue;
    count++;
    for (let c = 0; c < 3; c++) sum[c]! += data[3 * i + c]!;
  }
  const far = (name: (typeof COLOUR_NAMES)[number]) => Math.hypot(...sum.map((s, c) => s / count - COLOURS[name][c]!));
  return COLOUR_NAMES.toSorted((a, b) => far(a) - far(b))[0]!;
}
