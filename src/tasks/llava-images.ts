// Pictures as the original LLaVA prepares them: padded to a square, cut into tiles, or as CLIP does. Reference: llava/mm_utils.py
// of https://github.com/haotian-liu/LLaVA.
import { type Size, select_best_resolution } from '../io/anyres.ts';
import { UserError } from '../io/error.ts';
import { onCanvas, overWhite, type Pixels, squared } from '../io/pixels.ts';
import { resize } from '../io/resize.ts';
import type { ImageProcessor, PixelValues } from './image-processor.ts';

/** One picture as the tower sees it, by the config of its model: itself, padded to a square, or (anyres) all of it in one tile and then its tiles, row by row. */
export function process_image(
  image: Pixels,
  process: ImageProcessor,
  { image_aspect_ratio, image_grid_pinpoints }: { image_aspect_ratio?: unknown; image_grid_pinpoints?: unknown },
  name?: string,
): PixelValues[] {
  if (image_aspect_ratio === 'pad')
    return [
      process(
        squared(
          overWhite(image),
          process.mean.map((m) => Math.trunc(m * 255)),
        ),
        name,
      ),
    ];
  if (image_aspect_ratio !== 'anyres') return [process(image, name)];
  const { side } = process;
  if (!isSizes(image_grid_pinpoints) || side === undefined) {
    const got = JSON.stringify(image_grid_pinpoints) ?? 'nothing';
    throw new UserError(
      `[llava] image_grid_pinpoints: got ${got}, want sizes [[672, 336], ...] and a processor with a crop`,
    );
  }
  const rgb = overWhite(image);
  const whole = resize(rgb, side, side, 'bicubic');
  return [
    whole,
    ...tiles(fitted(rgb, select_best_resolution([rgb.width, rgb.height], image_grid_pinpoints)), side),
  ].map((tile) => process(tile, name));
}

const isSizes = (value: unknown): value is Size[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((v) => Array.isArray(v) && v.length === 2 && v.every(Number.isInteger));

/** The picture as large as it fits into a size, with black bars. */
function fitted(rgb: Pixels, size: Size): Pixels {
  const [width, height] = size;
  const [across, down] = [width / rgb.width, height / rgb.height];
  const [w, h] =
    across < down
      ? [width, Math.min(Math.ceil(rgb.height * across), height)]
      : [Math.min(Math.ceil(rgb.width * down), width), height];
  return onCanvas(
    resize(rgb, w, h, 'bicubic'),
    size,
    [0, 0, 0],
    Math.floor((width - w) / 2),
    Math.floor((height - h) / 2),
  );
}

function tiles(image: Pixels, side: number): Pixels[] {
  const made: Pixels[] = [];
  for (let y = 0; y < image.height; y += side)
    for (let x = 0; x < image.width; x += side) made.push(cut(image, x, y, side));
  return made;
}

/** What lies beyond the picture is black. */
function cut({ width, height, data }: Pixels, x: number, y: number, side: number): Pixels {
  const out = new Uint8Array(3 * side * side);
  const w = Math.min(side, width - x);
  for (let row = 0; row < Math.min(side, height - y); row++) {
    const from = 3 * ((y + row) * width + x);
    out.set(data.subarray(from, from + 3 * w), 3 * row * side);
  }
  return { width: side, height: side, channels: 3, data: out };
}
