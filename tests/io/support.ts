// What the io tests share: fixtures and golden cases beside them, and building damaged files.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { UserError } from '../../src/io/error.ts';
import { readHeader, type TensorInfo } from '../../src/io/safetensors.ts';
import { fromBytes, fromPath } from '../../src/io/source.ts';

export const fixturePath = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
export const goldenPath = (name: string) => fileURLToPath(new URL(`../goldens/cases/${name}`, import.meta.url));
export const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
export const readBytes = (path: string) => new Uint8Array(readFileSync(path));
export const fromBase64 = (text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** Runs `work`; gives its value, or the UserError's text. Any other error fails the test. */
export async function valueOrMessage<T>(work: () => T | Promise<T>): Promise<{ value?: T; message?: string }> {
  try {
    return { value: await work() };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(error.message).toMatch(/^\[.*\] \S/s);
    return { message: error.message };
  }
}

/** A safetensors file from a header text (or its bytes) and data. */
export function rawFile(header: string | Uint8Array, data: Uint8Array | number = 0): Uint8Array {
  const json = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const body = typeof data === 'number' ? new Uint8Array(data) : data;
  const file = new Uint8Array(8 + json.length + body.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(body, 8 + json.length);
  return file;
}

export const headerOf = (file: Uint8Array, name = 'model.safetensors') => readHeader(fromBytes(file, name));

/** A tensor of a golden file as float64 numbers. */
export async function goldenTensor(path: string, name: string): Promise<{ shape: number[]; data: Float32Array }> {
  const source = await fromPath(path);
  const info = (await readHeader(source)).tensors.get(name) as TensorInfo;
  const bytes = await source.read(info.begin, info.end - info.begin);
  await source.close?.();
  return { shape: info.shape, data: new Float32Array(bytes.buffer, 0, bytes.byteLength / 4) };
}
