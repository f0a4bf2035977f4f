// A picture from whatever holds one: a path, an address, a file's bytes, a Blob, or pixels. node:fs only for paths.
import { explain, UserError } from '../io/error.ts';
import { decodeImage } from '../io/image.ts';
import type { Pixels } from '../io/pixels.ts';
import { statPath } from '../io/source.ts';

/** Pixels without `channels` are RGBA, as a canvas's ImageData. */
type RawPixels = { width: number; height: number; channels?: number; data: Uint8Array | Uint8ClampedArray };
export type ImageInput = string | URL | Uint8Array | ArrayBuffer | Blob | RawPixels | ImageData;

const ADDRESS = /^(?:https?|data|blob):/i;
const MAX_FILE = 2 ** 28; // bytes; an endless file (/dev/zero, a stream) would fill the memory

/**
 * Pixels of a picture, turned as its camera says (like transformers' load_image); `name` is what errors call a picture that
 * has none. Throws a UserError if it is not one.
 */
export async function load_image(image: ImageInput, name = 'image'): Promise<Pixels> {
  const options = { name: nameOf(image, name), orient: true };
  if (typeof image === 'string' || image instanceof URL) {
    const path = await pathOf(image);
    const file = path === undefined ? download(String(image), options.name) : readPath(path);
    return decodeImage(await file, options);
  }
  if (image instanceof ArrayBuffer) return decodeImage(new Uint8Array(image), options);
  if (image instanceof Blob || image instanceof Uint8Array) return decodeImage(image, options);
  return checkPixels(image as RawPixels, options.name);
}

/** What errors call a picture: its path, address or file name, else `otherwise`. */
export function nameOf(image: ImageInput, otherwise: string): string {
  const text = typeof image === 'string' || image instanceof URL ? String(image) : (image as Partial<File>)?.name;
  if (typeof text !== 'string') return otherwise;
  return text.startsWith('data:') ? 'data URL' : text;
}

/** Throws a UserError unless there is a file at `image`, when that is a path. */
export async function checkPath(image: string): Promise<void> {
  const path = await pathOf(image);
  if (path === undefined) return;
  const found = await statPath(path);
  if (!found) throw new UserError(`[${path}] no such file: want a picture`);
  if (found.isDirectory()) throw new UserError(`[${path}] is a folder: want a picture in it`);
}

/** The path that is meant; undefined for what is to be fetched. */
async function pathOf(image: string | URL): Promise<string | undefined> {
  const text = String(image);
  const isFile = /^file:/i.test(text);
  if (ADDRESS.test(text) || (image instanceof URL && !isFile) || !globalThis.process?.versions?.node) return undefined;
  if (!isFile) return text;
  const { fileURLToPath } = await import('node:url');
  return explain(text, 'is not the address of a file here', () => fileURLToPath(text));
}

/** The bytes of a picture's file. */
export async function readPath(path: string): Promise<Blob> {
  await checkPath(path);
  const { createReadStream } = await import('node:fs');
  return explain(path, 'cannot be read', () => gather(path, createReadStream(path)));
}

async function download(address: string, name: string): Promise<Blob> {
  const response = await explain(name, 'cannot be fetched', () => fetch(address));
  if (!response.ok) throw new UserError(`[${name}] cannot be fetched: got status ${response.status}`);
  return explain(name, 'cannot be fetched', () => gather(name, piecesOf(response.body)));
}

/** A stream that is not read to its end is cancelled. (Safari's streams are no async iterables.) */
async function* piecesOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader();
  try {
    for (let piece = await reader?.read(); piece?.value; piece = await reader?.read()) yield piece.value;
  } finally {
    await reader?.cancel();
  }
}

/** A whole file from its pieces. Throws a UserError when they do not end. */
async function gather(name: string, pieces: AsyncIterable<Uint8Array>): Promise<Blob> {
  const parts: BlobPart[] = [];
  let size = 0;
  for await (const piece of pieces) {
    size += piece.byteLength;
    if (size > MAX_FILE) {
      throw new UserError(
        `[${name}] too large for a picture: got more than ${MAX_FILE >> 20} MiB. Is it a file that ends?`,
      );
    }
    parts.push(piece as Uint8Array<ArrayBuffer>);
  }
  return new Blob(parts);
}

/** Pixels given as they are, once their numbers fit together. */
export function checkPixels(image: RawPixels, name: string): Pixels {
  const { width, height, channels = 4, data } = (image ?? {}) as Partial<RawPixels>;
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    const got = typeof image === 'object' && image ? `an object of class ${image.constructor?.name}` : String(image);
    const want =
      'a path, an address, the bytes of a file, a Blob, ImageData or pixels { width, height, channels, data }';
    throw new UserError(`[${name}] not a picture: got ${got}, want ${want}`);
  }
  const isCount = (n: unknown): n is number => Number.isInteger(n) && (n as number) > 0;
  if (isCount(width) && isCount(height) && isCount(channels) && channels <= 4) {
    const fits = data.length === width * height * channels;
    if (fits) return { width, height, channels, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  }
  throw new UserError(
    `[${name}] pixels: got ${data.length} bytes for width ${width}, height ${height}, channels ${channels}; ` +
      'want width * height * channels bytes, and 1 to 4 channels',
  );
}
