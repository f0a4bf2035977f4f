// The rule of shaders/quantise.wgsl in plain numbers: floor(x / d + 1/2) is exact in float64, as x / d never comes nearer to
// a half than its own rounding unless it is one.
import type { Quantised } from '../src/tensor/dtype.ts';

const { fround } = Math;
const LARGEST = 65504;

/** Multiples that halves are of at a magnitude. */
const spacing = (v: number) => 2 ** Math.max(-24, Math.floor(Math.log2(v)) - 10);
/** The smallest half not below v >= 0, the largest not above it. */
const above = (v: number) => (v === 0 ? 0 : Math.min(LARGEST, Math.ceil(v / spacing(v)) * spacing(v)));
const below = (v: number) =>
  v < 0 ? -above(-v) : v === 0 ? 0 : Math.min(LARGEST, Math.floor(v / spacing(v)) * spacing(v));

function bitsOfHalf(v: number): number {
  if (Number.isNaN(v)) return 0x7e00;
  const sign = v < 0 ? 0x8000 : 0;
  const size = Math.abs(v);
  if (size < 2 ** -14) return sign | (size * 2 ** 24);
  const e = Math.floor(Math.log2(size));
  return sign | ((e + 15) << 10) | ((size / 2 ** e - 1) * 1024);
}

const cut = (v: number, least: number, most: number) => Math.min(most, Math.max(least, v));

/** What the device holds of some f32 numbers: words, and the values that they stand for. */
export function quantised(x: ArrayLike<number>, dtype: Quantised): { words: Uint32Array; values: Float64Array } {
  const [unit, size] = dtype === 'q8' ? [256, 68] : [128, 20];
  const words = new Uint32Array(Math.ceil(x.length / unit) * size);
  const values = new Float64Array(x.length);
  for (let i = 0; i < Math.ceil(x.length / unit) * unit; i += 32) {
    const block = Array.from({ length: 32 }, (_, k) => x[i + k]).filter((v) => v !== undefined);
    const bad = block.some((v) => !Number.isFinite(v));
    const at = Math.floor(i / unit) * size;
    const b = (i % unit) / 32;
    let [d, m, q] = [Number.NaN, Number.NaN, (_: number) => 0];
    if (dtype === 'q8') {
      const most = Math.max(0, ...block.map(Math.abs));
      if (!bad) d = Math.max(2 ** -24, above(fround(most * fround(1 / 127))));
      m = 0;
      q = (v) => cut(Math.floor(v / d + 0.5), -127, 127);
      words[at + (b >> 1)]! |= bitsOfHalf(d) << (16 * (b & 1));
    } else {
      if (!bad) {
        m = block.length > 0 ? below(Math.min(...block)) : 0;
        const range = block.length > 0 ? fround(Math.max(...block) - m) : 0;
        d = Math.max(2 ** -24, above(fround(range * fround(1 / 15))));
      }
      q = (v) => cut(Math.floor(fround(v - m) / d + 0.5), 0, 15);
      words[at + b] = bitsOfHalf(d) | (bitsOfHalf(m) << 16);
    }
    for (let k = 0; k < 32; k++) {
      const v = block[k];
      const n = bad ? 0 : v !== undefined ? q(v) : 0; // what is past the end counts as 0, in q4 as m
      if (v !== undefined) values[i + k] = n * d + m;
      if (bad) continue; // the integers of such a block are nobody's business
      if (dtype === 'q8') words[at + 4 + 8 * b + (k >> 2)]! |= (n + 128) << (8 * (k & 3));
      else words[at + 4 + 4 * b + (k >> 3)]! |= n << (4 * (k & 7));
    }
  }
  return { words, values };
}
