// A scene as pixels. Integers all the way: the same scene is the same picture, bit for bit, in every runtime.
import type { Pixels } from '../io/pixels.ts';
import { CELL, COLUMNS, type Hand, type World } from './drawings.ts';
import { COLOURS, type Scene, SIDE, type Thing } from './scene.ts';

/** RGB pixels, 64x64: the background, then each thing over it. */
export function render(world: World, { background, things }: Scene): Pixels {
  const data = new Uint8Array(SIDE * SIDE * 3);
  for (let i = 0; i < data.length; i++) data[i] = COLOURS[background][i % 3]!;
  for (const thing of things) draw(data, world.hands.get(thing.hand)!, world.order.get(thing.name)!, thing);
  return { width: SIDE, height: SIDE, channels: 3, data };
}

/** Each pixel is the mean over the area of the drawing that it covers, weighed by opacity, over what is there. */
function draw(data: Uint8Array, { atlas }: Hand, cell: number, { x, y, side }: Thing): void {
  const left = (cell % COLUMNS) * CELL;
  const top = Math.floor(cell / COLUMNS) * CELL;
  const spans = Array.from({ length: side }, (_, i) => span(i, side));
  const whole = CELL * CELL * 255; // the weight of an area that is opaque
  const sum = new Float64Array(4); // of integers below 2^53
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      sum.fill(0);
      for (const [v, high] of spans[row]!) {
        for (const [u, wide] of spans[column]!) {
          const from = 4 * ((top + v) * atlas.width + left + u);
          const weight = high * wide * atlas.data[from + 3]!;
          for (let c = 0; c < 3; c++) sum[c] = sum[c]! + weight * atlas.data[from + c]!;
          sum[3] = sum[3]! + weight;
        }
      }
      const to = 3 * ((y + row) * SIDE + x + column);
      for (let c = 0; c < 3; c++) {
        data[to + c] = Math.floor((sum[c]! + (whole - sum[3]!) * data[to + c]! + (whole >> 1)) / whole);
      }
    }
  }
}

/** Which pixels of a row of CELL lie under pixel `i` of `side`, and how much of each; the weights add up to CELL. */
function span(i: number, side: number): [number, number][] {
  const [from, to] = [i * CELL, (i + 1) * CELL]; // in units of 1 / side
  const out: [number, number][] = [];
  for (let j = Math.floor(from / side); j * side < to; j++) {
    out.push([j, Math.min(to, (j + 1) * side) - Math.max(from, j * side)]);
  }
  return out;
}
