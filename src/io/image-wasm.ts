// JPEG and WebP decoders compiled to wasm (@jsquash), for Node, Deno and Bun. Not part of the engine: it decodes files, nothing else.
import { fromRgba, type Pixels } from './pixels.ts';

type Rgba = { width: number; height: number; data: Uint8ClampedArray };
type Decoder = { decode(file: Uint8Array, ...options: unknown[]): Rgba | null };
type Factory = (options: object) => Promise<Decoder>;

const DECODERS = {
  jpeg: {
    wasm: '@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm',
    load: () => import('@jsquash/jpeg/codec/dec/mozjpeg_dec.js'),
    options: [false], // whether to turn the picture as EXIF says
  },
  webp: {
    wasm: '@jsquash/webp/codec/dec/webp_dec.wasm',
    load: () => import('@jsquash/webp/codec/dec/webp_dec.js'),
    options: [],
  },
} as const;

const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** The package's wasm file is found from this file, so it works from src, from dist and installed globally. */
async function compile(file: string): Promise<WebAssembly.Module> {
  const { createRequire } = await import('node:module');
  const { readFile } = await import('node:fs/promises');
  return WebAssembly.compile(new Uint8Array(await readFile(createRequire(import.meta.url).resolve(file))));
}

/** Decodes in a fresh instance: a damaged file may leave one in any state, and its memory goes with it. */
export async function decodeWith(kind: 'jpeg' | 'webp', bytes: Uint8Array, alpha: boolean): Promise<Pixels> {
  const { wasm, load, options } = DECODERS[kind];
  if (!compiled.has(wasm)) compiled.set(wasm, compile(wasm));
  const module = await compiled.get(wasm)!;
  const factory = (await load()).default as unknown as Factory;
  const decoder = await factory({
    noInitialRun: true,
    print: () => {},
    printErr: () => {},
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
      const instance = new WebAssembly.Instance(module, imports);
      done(instance);
      return instance.exports;
    },
  });
  const image = decoder.decode(bytes, ...options);
  if (!image) throw new Error('damaged data');
  return fromRgba(image.width, image.height, image.data, alpha ? 4 : 3);
}
