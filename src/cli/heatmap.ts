// Pictures of where words looked: the picture once for each word, dark where it did not look.
import { overWhite, type Pixels } from '../io/pixels.ts';
import { encodePng } from '../io/png.ts';
import { resize } from '../io/resize.ts';
import type { WordMap } from '../tasks/attention.ts';
import { xml } from './text.ts';

const [SIDE, GAP, LABEL, COLUMNS] = [128, 8, 20, 6];
const DARK = 0.2; // what is left of a picture where a word looked least

/** A PNG with the words in rows from the left, or an SVG that also writes them. */
export async function heatmaps(image: Pixels, words: readonly WordMap[], isSvg: boolean): Promise<Uint8Array> {
  const tiles = words.map(({ map }) => lit(resize(overWhite(image), SIDE, SIDE), map));
  const columns = Math.max(1, Math.min(COLUMNS, tiles.length));
  const step = SIDE + GAP;
  if (!isSvg) {
    const height = step * Math.ceil(tiles.length / columns) + GAP;
    const width = step * columns + GAP;
    const data = new Uint8Array(3 * width * height).fill(255);
    for (const [i, tile] of tiles.entries()) {
      const [x, y] = [GAP + step * (i % columns), GAP + step * Math.floor(i / columns)];
      for (let row = 0; row < SIDE; row++) {
        data.set(tile.data.subarray(3 * SIDE * row, 3 * SIDE * (row + 1)), 3 * ((y + row) * width + x));
      }
    }
    return encodePng({ width, height, channels: 3, data });
  }
  const down = step + LABEL;
  const parts = await Promise.all(
    tiles.map(async (tile, i) => {
      const [x, y] = [GAP + step * (i % columns), GAP + down * Math.floor(i / columns)];
      const png = Buffer.from(await encodePng(tile)).toString('base64');
      const word = xml(words[i]!.word);
      return (
        `<image x="${x}" y="${y}" width="${SIDE}" height="${SIDE}" href="data:image/png;base64,${png}"/>` +
        `<text x="${x + SIDE / 2}" y="${y + SIDE + 15}" text-anchor="middle">${word}</text>`
      );
    }),
  );
  const [width, height] = [step * columns + GAP, down * Math.ceil(tiles.length / columns) + GAP];
  return new TextEncoder().encode(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="14">` +
      `<rect width="100%" height="100%" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`,
  );
}

/** The picture by the light of a map, which is smoothed between the middles of its patches. */
function lit(image: Pixels, map: readonly (readonly number[])[]): Pixels {
  const most = Math.max(...map.flat());
  const least = Math.min(...map.flat());
  const at = (y: number, x: number) => (map[y]![x]! - least) / (most - least || 1);
  const rows = map.length;
  const data = new Uint8Array(image.data.length);
  const place = (pixel: number) => Math.min(rows - 1, Math.max(0, ((pixel + 0.5) * rows) / SIDE - 0.5));
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const [v, u] = [place(y), place(x)];
      const [v0, u0] = [Math.floor(v), Math.floor(u)];
      const [v1, u1] = [Math.min(rows - 1, v0 + 1), Math.min(rows - 1, u0 + 1)];
      const top = at(v0, u0) * (u0 + 1 - u) + at(v0, u1) * (u - u0);
      const bottom = at(v1, u0) * (u0 + 1 - u) + at(v1, u1) * (u - u0);
      const light = DARK + (1 - DARK) * (top * (v0 + 1 - v) + bottom * (v - v0));
      for (let c = 0; c < 3; c++) data[3 * (y * SIDE + x) + c] = image.data[3 * (y * SIDE + x) + c]! * light;
    }
  }
  return { ...image, data };
}
