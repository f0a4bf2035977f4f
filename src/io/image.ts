// Picture files to pixels. PNG is decoded here, JPEG and WebP by libjpeg-turbo and libwebp compiled to wasm (Node, Deno, Bun) or
// by the page's own decoders; both give the pixels that Pillow gives.
import { explain, UserError } from './error.ts';
import { type JpegInfo, readJpeg } from './jpeg.ts';
import { orient, type Pixels } from './pixels.ts';
import { decodePng } from './png.ts';
import { sniff } from './sniff.ts';

export { encodePng } from './png.ts';

/** `orient`: turn the picture as its camera says (EXIF); not done by default, as Pillow does not. */
export type DecodeOptions = { name?: string; orient?: boolean };

/** Largest picture that is decoded: 100 megapixels. */
export const MAX_PIXELS = 100_000_000;

/** Pixels of a PNG, JPEG or WebP file, found by its first bytes. Anything else is a UserError that says what it is. */
export async function decodeImage(file: Uint8Array | Blob, options: DecodeOptions = {}): Promise<Pixels> {
  const name = options.name ?? (file as Partial<File>).name ?? 'image';
  const bytes =
    file instanceof Uint8Array
      ? new Uint8Array(file.buffer, file.byteOffset, file.byteLength) // not a Buffer, whose slice shares memory
      : new Uint8Array(await explain(name, 'cannot be read', () => file.arrayBuffer()));
  const kind = sniff(bytes);
  if (kind === 'a PNG picture') {
    checkSize(name, readPngSize(bytes, name));
    return decodePng(bytes, name);
  }
  if (kind === 'a JPEG picture') {
    const info = readJpeg(bytes, name);
    checkSize(name, info);
    const image = await decodeJpeg(bytes, info, name);
    return options.orient ? orient(image, info.orientation) : image;
  }
  if (kind === 'a WebP picture') {
    const info = readWebp(bytes, name);
    checkSize(name, info);
    return decode('webp', bytes, info, name);
  }
  throw new UserError(
    `[${name}] cannot be read as a picture: this is ${kind ?? 'no known file type'}, want PNG, JPEG or WebP`,
  );
}

type Size = { width: number; height: number };

function checkSize(name: string, { width, height }: Size): void {
  if (width * height <= MAX_PIXELS) return;
  throw new UserError(
    `[${name}] the picture is too large: got ${width} x ${height}, want at most ${MAX_PIXELS / 1e6} megapixels`,
  );
}

function readPngSize(bytes: Uint8Array, name: string): Size {
  if (bytes.length < 24) throw new UserError(`[${name}] the PNG is cut off. Get the file again.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

async function decodeJpeg(bytes: Uint8Array, info: JpegInfo, name: string): Promise<Pixels> {
  let plain = bytes;
  if (info.orientationAt !== undefined) {
    // A page's decoder turns the picture by itself: take the note away.
    plain = bytes.slice();
    plain.set([0, 0], info.orientationAt);
  }
  return decode('jpeg', plain, { ...info, alpha: false }, name);
}

async function decode(
  kind: 'jpeg' | 'webp',
  bytes: Uint8Array,
  info: Size & { alpha: boolean },
  name: string,
): Promise<Pixels> {
  const image = await explain(name, `the ${kind.toUpperCase()} picture cannot be decoded`, async () => {
    // Deno and Bun have `process` too; a page has not.
    const { decodeWith } = globalThis.process?.versions?.node
      ? await import('./image-wasm.ts')
      : await import('./image-page.ts');
    return decodeWith(kind, bytes, info.alpha);
  });
  if (image.width === info.width && image.height === info.height) return image;
  throw new UserError(
    `[${name}] damaged picture: got ${image.width} x ${image.height}, want ${info.width} x ${info.height}`,
  );
}

/** Size and kind from the container (https://developers.google.com/speed/webp/docs/riff_container). */
function readWebp(bytes: Uint8Array, name: string): Size & { alpha: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 30 || view.getUint32(4, true) + 8 > bytes.length) {
    throw new UserError(`[${name}] the WebP is cut off. Get the file again.`);
  }
  const part = String.fromCharCode(...bytes.subarray(12, 16));
  if (part === 'VP8 ') {
    return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff, alpha: false };
  }
  if (part === 'VP8L') {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1, alpha: (bits & 0x10000000) !== 0 };
  }
  if (part !== 'VP8X') throw new UserError(`[${name}] damaged WebP: unknown part ${JSON.stringify(part)}`);
  const flags = bytes[20]!;
  if (flags & 2) throw new UserError(`[${name}] an animated WebP: want a still picture. Save one frame of it.`);
  const size24 = (at: number) => view.getUint16(at, true) + bytes[at + 2]! * 65536 + 1;
  return { width: size24(24), height: size24(27), alpha: (flags & 16) !== 0 };
}
