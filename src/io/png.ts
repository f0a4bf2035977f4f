// PNG (https://www.w3.org/TR/png-3/), read and written with the platform's own deflate: the same pixels in every runtime. A page's
// canvas can not give them: it loses colours under transparent pixels.
// Ours for tests/io/image.test.ts: fast-png 8.0.0 fails 12 of 46 kinds (interlaced, below 8 bits) and the bomb, @jsquash/png
// 3.1.1 the flipped bits.
import { explain, UserError } from './error.ts';
import type { Pixels } from './pixels.ts';

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** Samples per pixel by colour type, and the bit depths that it may have. */
const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS: Record<number, number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const [PALETTE, GREY, RGB] = [3, 0, 2];
/** Adam7: first column, first row, column step, row step of each pass. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

type Chunks = { header: DataView; palette?: Uint8Array; transparent?: Uint8Array; data: Uint8Array<ArrayBuffer>[] };
type Layout = { width: number; height: number; depth: number; type: number; samples: number; interlaced: boolean };

/**
 * Pixels of a PNG file: 1 (grey), 2 (grey, alpha), 3 or 4 channels as stored; palettes are resolved, a transparent colour
 * becomes alpha, 16 bit samples keep their high byte. Throws a UserError for a damaged file.
 */
export async function decodePng(file: Uint8Array, name = 'png'): Promise<Pixels> {
  const fail = (what: string): never => {
    throw new UserError(`[${name}] damaged PNG: ${what}. Get the file again.`);
  };
  const chunks = readChunks(file, fail);
  const layout = readLayout(chunks.header, fail);
  const bits = layout.depth * layout.samples;
  const passes = (layout.interlaced ? ADAM7 : [[0, 0, 1, 1] as const])
    .map(([x, y, dx, dy]) => ({
      x,
      y,
      dx,
      dy,
      width: Math.ceil((layout.width - x) / dx),
      height: Math.ceil((layout.height - y) / dy),
    }))
    .filter((pass) => pass.width > 0 && pass.height > 0);
  const lengths = passes.map((pass) => pass.height * (1 + Math.ceil((pass.width * bits) / 8)));
  const packed = await inflate(
    chunks.data,
    lengths.reduce((a, b) => a + b),
    name,
    fail,
  );
  const values = new (layout.depth === 16 ? Uint16Array : Uint8Array)(layout.width * layout.height * layout.samples);
  let begin = 0;
  passes.forEach((pass, i) => {
    const rows = packed.subarray(begin, (begin += lengths[i]!));
    unfilter(rows, pass.height, Math.max(1, bits >> 3), fail);
    unpack(rows, pass, layout, values);
  });
  return colours(values, layout, chunks, fail);
}

/** The parts of a file in order, up to its end, each with its checksum verified. */
export function* chunksOf(
  file: Uint8Array,
  fail: (what: string) => never,
): Generator<{ type: string; content: Uint8Array<ArrayBuffer> }> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = SIGNATURE.length, type = ''; type !== 'IEND'; ) {
    const length = at + 12 <= file.length ? view.getUint32(at) : file.length;
    if (at + 12 + length > file.length) fail('it is cut off');
    type = String.fromCharCode(...file.subarray(at + 4, at + 8));
    if (crc32(file.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length)) fail(`checksum of ${type}`);
    yield { type, content: file.slice(at + 8, at + 8 + length) };
    at += 12 + length;
  }
}

function readChunks(file: Uint8Array, fail: (what: string) => never): Chunks {
  const found = new Map<string, Uint8Array<ArrayBuffer>>();
  const data: Uint8Array<ArrayBuffer>[] = [];
  for (const { type, content } of chunksOf(file, fail)) {
    if (type === 'IDAT') data.push(content);
    else if (/^[A-Z]/.test(type) && !['IHDR', 'PLTE', 'IEND'].includes(type)) fail(`unknown part ${type}`);
    else if (!found.has(type)) found.set(type, content);
  }
  const header = found.get('IHDR');
  if (header?.length !== 13) return fail('no IHDR');
  if (data.length === 0) return fail('no picture data');
  return { header: new DataView(header.buffer), palette: found.get('PLTE'), transparent: found.get('tRNS'), data };
}

function readLayout(header: DataView, fail: (what: string) => never): Layout {
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  const [depth, type] = [header.getUint8(8), header.getUint8(9)];
  if (width === 0 || height === 0) fail(`size ${width} x ${height}`);
  if (!DEPTHS[type]?.includes(depth)) fail(`colour type ${type} with ${depth} bits`);
  if (header.getUint8(10) !== 0 || header.getUint8(11) !== 0 || header.getUint8(12) > 1) fail('unknown compression');
  return { width, height, depth, type, samples: SAMPLES[type]!, interlaced: header.getUint8(12) === 1 };
}

/** Exactly `length` bytes out of the deflated parts; what would come after them is never unpacked. */
async function inflate(
  parts: Uint8Array<ArrayBuffer>[],
  length: number,
  name: string,
  fail: (what: string) => never,
): Promise<Uint8Array> {
  // Deflate makes nothing smaller than 1 : 1032, so a small file can not ask for much memory.
  if (length > 1032 * parts.reduce((sum, part) => sum + part.length, 0)) fail('it has too little data for its size');
  const out = new Uint8Array(length);
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream('deflate')).getReader();
  let done = 0;
  while (done < length) {
    const part = await explain(name, 'damaged PNG', () => reader.read());
    if (part.done) return fail(`got ${done} bytes of pixels, want ${length}`);
    const kept = part.value.subarray(0, length - done);
    out.set(kept, done);
    done += kept.length;
  }
  reader.cancel().catch(() => {});
  return out;
}

/** Undoes the row filters in place; every row keeps its filter byte in front. `step`: bytes per pixel. */
function unfilter(rows: Uint8Array, height: number, step: number, fail: (what: string) => never): void {
  const stride = rows.length / height;
  for (let y = 0; y < height; y++) {
    const row = y * stride;
    const kind = rows[row]!;
    if (kind > 4) fail(`row filter ${kind}`);
    if (kind === 0) continue;
    for (let i = 1; i < stride; i++) {
      const at = row + i;
      const left = i > step ? rows[at - step]! : 0;
      const up = y > 0 ? rows[at - stride]! : 0;
      const corner = y > 0 && i > step ? rows[at - stride - step]! : 0;
      rows[at]! += predict(kind, left, up, corner);
    }
  }
}

function predict(kind: number, left: number, up: number, corner: number): number {
  if (kind === 1) return left;
  if (kind === 2) return up;
  if (kind === 3) return (left + up) >> 1;
  const a = Math.abs(up - corner);
  const b = Math.abs(left - corner);
  const c = Math.abs(left + up - 2 * corner);
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

type Pass = { x: number; y: number; dx: number; dy: number; width: number; height: number };

/** Samples of one pass, as stored (a 4 bit sample is 0..15), to their places in the picture. */
function unpack(
  rows: Uint8Array,
  pass: Pass,
  { width, depth, samples }: Layout,
  values: Uint8Array | Uint16Array,
): void {
  const stride = rows.length / pass.height;
  for (let j = 0; j < pass.height; j++) {
    const row = j * stride + 1;
    const start = (pass.y + j * pass.dy) * width + pass.x;
    for (let i = 0; i < pass.width * samples; i++) {
      const x = samples === 1 ? i : Math.floor(i / samples);
      const to = (start + x * pass.dx) * samples + (i - x * samples);
      if (depth === 8) values[to] = rows[row + i]!;
      else if (depth === 16) values[to] = (rows[row + 2 * i]! << 8) | rows[row + 2 * i + 1]!;
      else {
        const bit = i * depth;
        values[to] = (rows[row + (bit >> 3)]! >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
      }
    }
  }
}

/** Samples as stored to 8 bit channels. */
function colours(
  values: Uint8Array | Uint16Array,
  layout: Layout,
  chunks: Chunks,
  fail: (what: string) => never,
): Pixels {
  const { width, height, depth, type, samples } = layout;
  const { palette, transparent } = chunks;
  const pixels = width * height;
  if (type === PALETTE) {
    if (!palette || palette.length % 3 !== 0) return fail('no palette');
    const channels = transparent ? 4 : 3;
    const data = new Uint8Array(pixels * channels);
    for (let i = 0; i < pixels; i++) {
      const index = values[i]!;
      if (index * 3 >= palette.length) return fail(`colour ${index} is not in its palette`);
      for (let c = 0; c < 3; c++) data[i * channels + c] = palette[index * 3 + c]!;
      if (transparent) data[i * channels + 3] = transparent[index] ?? 255;
    }
    return { width, height, channels, data };
  }
  const byte = (value: number) =>
    depth === 16 ? value >> 8 : depth === 8 ? value : (value * 255) / ((1 << depth) - 1);
  if (!transparent || (type !== GREY && type !== RGB)) {
    const data = values instanceof Uint8Array && depth === 8 ? values : Uint8Array.from(values, byte);
    return { width, height, channels: samples, data };
  }
  if (transparent.length !== 2 * samples) return fail('bad transparent colour');
  const clear = Array.from({ length: samples }, (_, c) => (transparent[2 * c]! << 8) | transparent[2 * c + 1]!);
  const channels = samples + 1;
  const data = new Uint8Array(pixels * channels);
  for (let i = 0; i < pixels; i++) {
    let same = true;
    for (let c = 0; c < samples; c++) {
      const value = values[i * samples + c]!;
      same &&= value === clear[c];
      data[i * channels + c] = byte(value);
    }
    data[i * channels + samples] = same ? 0 : 255;
  }
  return { width, height, channels, data };
}

/** A part that stands before the pixels, beside the ones that say how to read them. */
export type Chunk = { type: string; content: Uint8Array };

/** A PNG file of 1, 2, 3 or 4 channels (grey, grey and alpha, RGB, RGBA), its rows without filters. */
export async function encodePng(
  { width, height, channels, data }: Pixels,
  more: readonly Chunk[] = [],
): Promise<Uint8Array<ArrayBuffer>> {
  if (data.length !== width * height * channels || !(channels >= 1 && channels <= 4)) {
    throw new Error(`[encodePng] got ${data.length} bytes, ${channels} channels, want ${width} x ${height} x 1..4`);
  }
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8);
  header.setUint8(9, [0, 4, 2, 6][channels - 1]!);
  const stride = width * channels;
  const rows = new Uint8Array(height * (1 + stride)); // a byte before each row names its filter: 0, none
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * stride, (y + 1) * stride), y * (1 + stride) + 1);
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const body = new Uint8Array(await new Response(packed).arrayBuffer());
  const parts = [
    chunk('IHDR', new Uint8Array(header.buffer)),
    ...more.map(({ type, content }) => chunk(type, content)),
    chunk('IDAT', body),
    chunk('IEND', new Uint8Array()),
  ];
  return new Uint8Array(await new Blob([new Uint8Array(SIGNATURE), ...parts]).arrayBuffer());
}

function chunk(type: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
