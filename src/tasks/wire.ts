// What goes between a page (remote.ts) and its worker (../worker.ts): messages, and what a structured clone would lose.
import { run } from '../exec/run.ts';
import { DeviceLost } from '../gpu/device.ts';
import { OutOfMemory } from '../gpu/pool.ts';
import { UserError } from '../io/error.ts';
import { tensor } from '../ops/create.ts';
import type { DType, TypedArray } from '../tensor/dtype.ts';
import { Tensor } from '../tensor/tensor.ts';
import { Picture } from './picture.ts';

const LORAS = [
  'load_lora_weights',
  'set_adapters',
  'active_adapters',
  'delete_adapters',
  'unload_lora_weights',
] as const;
/** What a task may have beside being called, and a page may ask a worker for. */
export const METHODS = ['stream', 'invert', 'enable_vae_tiling', 'disable_vae_tiling', ...LORAS] as const;
export type Method = (typeof METHODS)[number];

/**
 * `method`: what is called in the place of the task. `signalAt`: which of the arguments had the caller's signal as its `signal`;
 * `aborted`: it was before this was sent.
 */
export type Ask = {
  tessera: 'open' | 'call';
  id: number;
  method?: Method | undefined;
  args: unknown[];
  signalAt: number;
  aborted: boolean;
};
/** `next`: whether one more of what a call streams is wanted, once there is one; the first is sent unasked. */
export type ToWorker = Ask | { tessera: 'abort'; id: number } | { tessera: 'next'; id: number; more: boolean };
export type ToPage =
  | { tessera: 'started' }
  | { tessera: 'called'; id: number; at: number; args: unknown[] }
  | { tessera: 'next'; id: number; value: unknown }
  | { tessera: 'done'; id: number; result: unknown }
  | ({ tessera: 'failed'; id: number; aborted: boolean } & Failure);

/** Stands for a function of the page; what it gives back is not waited for. */
const CALLBACK = 'tessera:callback';
export type Callback = (...args: never[]) => unknown;
export const packCallback = (at: number) => ({ [CALLBACK]: at });
/** Nested lists and objects with `called` in the place of each function. */
export const unpackCallbacks = (value: unknown, called: (at: number, args: unknown[]) => void): unknown =>
  replace(value, (one) => {
    const at = (one as { [CALLBACK]?: number } | null)?.[CALLBACK];
    return at === undefined ? undefined : (...args: unknown[]) => called(at, args);
  });

/** The classes of errors that a clone makes plain Errors of. */
const CLASSES = { UserError, DeviceLost, OutOfMemory };
type Failure = { error: unknown; name?: keyof typeof CLASSES | undefined };

export function packError(error: unknown): Failure {
  const name = (Object.keys(CLASSES) as (keyof typeof CLASSES)[]).find((name) => error instanceof CLASSES[name]);
  try {
    return { name, error: structuredClone(error) };
  } catch {
    return { name, error: new Error(error instanceof Error ? error.message : String(error)) }; // its cause holds a function
  }
}

export const unpackError = ({ error, name }: Failure): unknown =>
  name ? Object.assign(Object.setPrototypeOf(error, CLASSES[name].prototype), { name }) : error;

type Packed = { shape: readonly number[]; dtype: DType; data?: TypedArray };
const TENSOR = 'tessera:tensor';
const PICTURE = 'tessera:picture';

/** A result with the values of its tensors, which are computed and disposed of, and with pictures as plain objects. */
export async function packTensors(result: unknown): Promise<unknown> {
  const found = new Map<Tensor, Packed>();
  const packed = replace(result, (value) => {
    if (value instanceof Picture) return { [PICTURE]: { ...value } };
    if (!(value instanceof Tensor)) return undefined;
    if (!found.has(value)) found.set(value, { shape: value.shape, dtype: value.dtype });
    return { [TENSOR]: found.get(value) };
  });
  try {
    await run([...found.keys()]);
    for (const [t, to] of found) to.data = await t.data();
    return packed;
  } finally {
    for (const t of found.keys()) t.dispose();
  }
}

/** The same result with tensors whose values are here, on the host, and with pictures. */
export const unpackTensors = (result: unknown): unknown =>
  replace(result, (value) => {
    const picture = (value as { [PICTURE]?: Picture } | null)?.[PICTURE];
    if (picture) return new Picture(picture, picture.settings);
    const { shape, dtype, data } = (value as { [TENSOR]?: Packed } | null)?.[TENSOR] ?? {};
    return data && tensor(data, shape, { dtype: dtype! });
  });

/** A copy of nested lists and plain objects; `swap` gives what replaces a value in it, or undefined. */
export function replace(value: unknown, swap: (value: unknown) => unknown): unknown {
  const swapped = swap(value);
  if (swapped !== undefined) return swapped;
  if (Array.isArray(value)) return value.map((one) => replace(one, swap));
  if (typeof value !== 'object' || !value || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, replace(one, swap)]));
}
