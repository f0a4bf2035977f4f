// A picture from whatever holds one: a path, an address, a file's bytes, a Blob, or pixels. node:fs only for paths.
import { explain, UserError } from '../io/error.ts';
import { decodeImage } from '../io/image.ts';
import type { Pixels } from '../io/pixels.ts';

/** `ImageData` is what a canvas gives: RGBA. */
export type ImageInput = string | URL | Uint8Array | Blob | Pixels | ImageData;

const ADDRESS = /^(?:https?|data|blob):/;

/** Pixels of a picture, turned as its camera says (like transformers' load_image). Throws a UserError if it is not one. */
export async function load_image(image: ImageInput): Promise<Pixels> {
  if (typeof image === 'string' || image instanceof URL) {
    const text = String(image);
    const isAddress = image instanceof URL || ADDRESS.test(text) || !globalThis.process?.versions?.node;
    const name = text.startsWith('data:') ? 'data URL' : text;
    return decodeImage(isAddress ? await download(text, name) : await readPath(text), { name, orient: true });
  }
  if (image instanceof Blob) return decodeImage(image, { orient: true });
  if (image instanceof Uint8Array) return decodeImage(image, { orient: true });
  if (typeof image === 'object' && image && 'channels' in image) return image;
  if (!(image?.data instanceof Uint8ClampedArray)) {
    throw new UserError('[load_image] not a picture: want a path, an address, bytes, a Blob, pixels or ImageData');
  }
  const { width, height, data } = image;
  return { width, height, channels: 4, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

async function download(address: string, name: string): Promise<Blob> {
  const response = await explain(name, 'cannot be fetched', () => fetch(address));
  if (!response.ok) throw new UserError(`[${name}] cannot be fetched: got status ${response.status}`);
  return explain(name, 'cannot be fetched', () => response.blob());
}

/** Throws a UserError unless there is a file at `image`, when that is a path. */
export async function checkPath(image: string): Promise<void> {
  if (ADDRESS.test(image)) return;
  const { stat } = await import('node:fs/promises');
  const found = await stat(image).catch(() => undefined);
  if (!found) throw new UserError(`[${image}] no such file: want a picture`);
  if (found.isDirectory()) throw new UserError(`[${image}] is a folder: want a picture in it`);
}

async function readPath(path: string): Promise<Uint8Array> {
  await checkPath(path);
  const { readFile } = await import('node:fs/promises');
  return explain(path, 'cannot be read', () => readFile(path));
}
