// What a JPEG file says of itself (ITU-T T.81 annex B): size, completeness, the camera's orientation.
import { UserError } from './error.ts';

/** `orientationAt`: where the orientation is stored, two bytes; undefined when there is none. */
export type JpegInfo = { width: number; height: number; orientation: number; orientationAt: number | undefined };

const [SOI, EOI, SOS, APP1] = [0xd8, 0xd9, 0xda, 0xe1];

/** Walks through the file's segments to its end. Throws a UserError when it is cut off or of a kind that is not decoded. */
export function readJpeg(bytes: Uint8Array, name: string): JpegInfo {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let size: { width: number; height: number } | undefined;
  let found: { at: number; value: number } | undefined;
  for (let at = 2; ; ) {
    at = nextMarker(bytes, at);
    if (at + 4 > bytes.length && bytes[at + 1] !== EOI)
      throw new UserError(`[${name}] the JPEG is cut off. Get the file again.`);
    const marker = bytes[at + 1]!;
    if (marker === EOI) break;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame && at + 10 <= bytes.length) {
      const [bits, parts] = [bytes[at + 4]!, bytes[at + 9]!];
      if (bits !== 8) throw new UserError(`[${name}] a JPEG with ${bits} bits per colour: want 8. Save it as PNG.`);
      if (parts !== 1 && parts !== 3)
        throw new UserError(`[${name}] a JPEG in print colours (CMYK): want RGB. Convert it.`);
      size ??= { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    }
    if (marker === APP1) found ??= findOrientation(bytes.subarray(0, at + 2 + view.getUint16(at + 2)), at + 4);
    // SOI again begins a second picture inside a damaged file; a real thumbnail sits in a segment, which is skipped.
    at += marker === SOI ? 2 : 2 + view.getUint16(at + 2);
    if (marker === SOS && !size) break;
  }
  if (!size || size.width === 0 || size.height === 0)
    throw new UserError(`[${name}] damaged JPEG: no size. Get the file again.`);
  return { ...size, orientation: found?.value ?? 1, orientationAt: found?.at };
}

/** The next 0xff that begins a segment: not stuffed (ff 00), a restart mark (ff d0..d7), or filling (ff ff). */
function nextMarker(bytes: Uint8Array, at: number): number {
  for (;;) {
    at = bytes.indexOf(0xff, at);
    if (at < 0) return bytes.length;
    const after = bytes[at + 1] ?? 0;
    if (after !== 0 && after !== 0xff && !(after >= 0xd0 && after <= 0xd7) && after !== 1) return at;
    at++;
  }
}

/** EXIF tag 0x0112 in the segment content that starts at `at`: its value, and where that stands. */
function findOrientation(bytes: Uint8Array, at: number): { at: number; value: number } | undefined {
  const tiff = at + 6;
  if (String.fromCharCode(...bytes.subarray(at, tiff)) !== 'Exif\0\0' || tiff + 8 > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const little = bytes[tiff] === 0x49;
  const directory = tiff + view.getUint32(tiff + 4, little);
  if (directory + 2 > bytes.length) return undefined;
  const entries = view.getUint16(directory, little);
  for (let entry = directory + 2, i = 0; i < entries && entry + 12 <= bytes.length; i++, entry += 12) {
    if (view.getUint16(entry, little) === 0x0112) return { at: entry + 8, value: view.getUint16(entry + 8, little) };
  }
  return undefined;
}
