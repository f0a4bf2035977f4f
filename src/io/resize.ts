// Resizing exactly as Pillow does (https://github.com/python-pillow/Pillow, src/libImaging/Resample.c and Geometry.c): the filter
// is stretched when shrinking, weights are 22 bit fixed point, and between the pass along rows and the one along columns values are 8 bits.
import type { Pixels } from './pixels.ts';

export type Filter = 'nearest' | 'lanczos' | 'bilinear' | 'bicubic' | 'box' | 'hamming';
/** Pillow's numbers for its filters, as `resample` in preprocessor_config.json has them. */
export const FILTERS: readonly Filter[] = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'];

const PRECISION = 22;
const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** Half width of each filter, and its weight at distance x. */
const KERNELS: Record<Exclude<Filter, 'nearest'>, { support: number; weight(x: number): number }> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weight(x) {
      x = Math.abs(x);
      return x < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0;
    },
  },
  // Keys' cubic with a = -0.5.
  bicubic: {
    support: 2,
    weight(x) {
      x = Math.abs(x);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** A rectangle of a picture. */
export type Part = { left: number; top: number; width: number; height: number };

/**
 * Pixels as `Image.resize((width, height), filter)` of Pillow gives them, bit for bit; of that only a `part`, and only what
 * it needs is computed.
 */
export function resize(
  image: Pixels,
  width: number,
  height: number,
  filter: Filter = 'bicubic',
  part: Part = { left: 0, top: 0, width, height },
): Pixels {
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
    throw new Error(`[resize] size: got ${width} x ${height}, want integers > 0`);
  }
  if (width === image.width && height === image.height) return cut(image, part);
  if (filter === 'nearest') return nearest(image, width, height, part);
  if (image.channels % 2 === 1) return resample(image, width, height, filter, part);
  return divideAlpha(resample(multiplyAlpha(image), width, height, filter, part));
}

function resample(
  image: Pixels,
  width: number,
  height: number,
  filter: Exclude<Filter, 'nearest'>,
  part: Part,
): Pixels {
  const columns = width === image.width ? null : weights(image.width, width, filter, part.left, part.width);
  const rows = height === image.height ? null : weights(image.height, height, filter, part.top, part.height);
  const [left, right] = columns ? needed(columns) : [part.left, part.left + part.width];
  const [top, bottom] = rows ? needed(rows) : [part.top, part.top + part.height];
  const source = cut(image, { left, top, width: right - left, height: bottom - top });
  const wide = (from: Pixels) => (columns ? alongRows(from, columns, left) : from);
  const high = (from: Pixels) => (rows ? alongColumns(from, rows, top) : from);
  return columnsFirst(image, width, height) ? wide(high(source)) : high(wide(source));
}

/** A copy of a part. */
function cut({ width, channels, data }: Pixels, part: Part): Pixels {
  const row = part.width * channels;
  const out = new Uint8Array(part.height * row);
  for (let y = 0; y < part.height; y++) {
    const from = ((part.top + y) * width + part.left) * channels;
    out.set(data.subarray(from, from + row), y * row);
  }
  return { width: part.width, height: part.height, channels, data: out };
}

/** Since Pillow 13 the columns go first when the height shrinks by far more than the width; the order shows in the last bit. */
function columnsFirst(image: Pixels, width: number, height: number): boolean {
  return image.height - height > 2 * Math.max(0, image.width - width);
}

/** For each output position: the first input position, and the fixed-point weights from there on. */
type Weights = { first: number; factors: Int32Array }[];

/** Those of `count` of the `to` positions, from `start` on. */
function weights(from: number, to: number, filter: Exclude<Filter, 'nearest'>, start: number, count: number): Weights {
  const { support, weight } = KERNELS[filter];
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  const step = 1 / stretch;
  return Array.from({ length: count }, (_, i) => {
    const center = (start + i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const end = Math.min(Math.trunc(center + reach + 0.5), from);
    const exact = Array.from({ length: end - first }, (_, k) => weight((k + first - center + 0.5) * step));
    const sum = exact.reduce((a, b) => a + b, 0);
    const fixed = exact.map((w) => (sum === 0 ? w : w / sum) * 2 ** PRECISION);
    return { first, factors: Int32Array.from(fixed, (w) => Math.trunc(w < 0 ? w - 0.5 : w + 0.5)) };
  });
}

/** The input positions that are read: the first, and the one behind the last. */
const needed = (table: Weights): [number, number] =>
  table.reduce(
    ([least, most], { first, factors }) => [Math.min(least, first), Math.max(most, first + factors.length)],
    [Number.POSITIVE_INFINITY, 0],
  );

const HALF = 1 << (PRECISION - 1);

/** `skipped`: positions of the table that come before the pixels. */
function alongRows({ data, width, height, channels }: Pixels, table: Weights, skipped: number): Pixels {
  const to = table.length;
  const out = new Uint8ClampedArray(to * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      const { first, factors } = table[x]!;
      for (let c = 0; c < channels; c++) {
        let sum = HALF;
        let at = (y * width + first - skipped) * channels + c;
        for (let k = 0; k < factors.length; k++, at += channels) sum = (sum + Math.imul(data[at]!, factors[k]!)) | 0;
        out[(y * to + x) * channels + c] = sum >> PRECISION;
      }
    }
  }
  return { width: to, height, channels, data: new Uint8Array(out.buffer) };
}

function alongColumns({ data, width, channels }: Pixels, table: Weights, skipped: number): Pixels {
  const to = table.length;
  const row = width * channels;
  const out = new Uint8ClampedArray(to * row);
  for (let y = 0; y < to; y++) {
    const { first, factors } = table[y]!;
    for (let x = 0; x < row; x++) {
      let sum = HALF;
      let at = (first - skipped) * row + x;
      for (let k = 0; k < factors.length; k++, at += row) sum = (sum + Math.imul(data[at]!, factors[k]!)) | 0;
      out[y * row + x] = sum >> PRECISION;
    }
  }
  return { width, height: to, channels, data: new Uint8Array(out.buffer) };
}

function nearest({ data, width, height, channels }: Pixels, toWidth: number, toHeight: number, part: Part): Pixels {
  const columns = positions(width, toWidth, part.left, part.width);
  const rows = positions(height, toHeight, part.top, part.height);
  const out = new Uint8Array(part.width * part.height * channels);
  let at = 0;
  for (const y of rows) {
    for (const x of columns) {
      const from = (y * width + x) * channels;
      for (let c = 0; c < channels; c++) out[at++] = data[from + c]!;
    }
  }
  return { width: part.width, height: part.height, channels, data: out };
}

/** Input positions, found by adding up as Pillow does: a product would differ in the last bit. */
function positions(from: number, to: number, start: number, count: number): Int32Array {
  const scale = from / to;
  let position = scale * 0.5;
  for (let i = 0; i < start; i++) position += scale;
  return Int32Array.from({ length: count }, () => {
    const now = Math.min(Math.trunc(position), from - 1);
    position += scale;
    return now;
  });
}

/** round(a * b / 255) for bytes. */
function multiply255(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/** Colours times alpha, so that invisible colours do not bleed into visible ones; Pillow does this for RGBA and LA. */
function multiplyAlpha(image: Pixels): Pixels {
  return mapColours(image, multiply255);
}

function divideAlpha(image: Pixels): Pixels {
  return mapColours(image, (value, alpha) =>
    alpha === 0 || alpha === 255 ? value : Math.min(255, Math.trunc((255 * value) / alpha)),
  );
}

function mapColours(image: Pixels, change: (value: number, alpha: number) => number): Pixels {
  const data = image.data.slice();
  const last = image.channels - 1;
  for (let at = 0; at < data.length; at += image.channels) {
    for (let c = 0; c < last; c++) data[at + c] = change(data[at + c]!, data[at + last]!);
  }
  return { ...image, data };
}
