// What goes between a page (remote.ts) and its worker (../worker.ts): messages, and what a structured clone would lose.
import { run } from '../exec/run.ts';
import { DeviceLost } from '../gpu/device.ts';
import { OutOfMemory } from '../gpu/pool.ts';
import { UserError } from '../io/error.ts';
import { tensor } from '../ops/create.ts';
import type { DType, TypedArray } from '../tensor/dtype.ts';
import { Tensor } from '../tensor/tensor.ts';
import { Picture } from './picture.ts';
import { Scheduler, schedulerOf } from './schedulers/index.ts';

/** What a page sets on a task as if it were there. */
export const PROPERTY = 'scheduler';

const TILES = ['enable_vae_tiling', 'disable_vae_tiling'] as const;
const LORAS = ['load_lora_weights', 'set_adapters', 'delete_adapters', 'unload_lora_weights'] as const;
/** What a task may have beside being called, and a page may ask a worker for. */
export const METHODS = ['stream', 'invert', 'active_adapters', ...TILES, ...LORAS] as const;
export type Method = (typeof METHODS)[number];
/** Those of them that change the task, each with those of which nothing is left behind it. */
export const CHANGES = {
  load_lora_weights: [],
  set_adapters: ['set_adapters'],
  delete_adapters: [],
  unload_lora_weights: LORAS,
  enable_vae_tiling: TILES,
  disable_vae_tiling: TILES,
  [PROPERTY]: [PROPERTY],
} as const;
/** A call that changed a task. */
export type Change = { method: keyof typeof CHANGES; args: unknown[] };

/**
 * `method`: what is called, or set, in the place of the task. `signalAt`: which of the arguments had the caller's signal as its `signal`;
 * `aborted`: it was before this was sent.
 */
export type Ask = {
  tessera: 'open' | 'call';
  id: number;
  method?: Method | typeof PROPERTY | undefined;
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
const SCHEDULER = 'tessera:scheduler';

/** What is sent in the place of a value: tensors with their values, pictures and schedulers as plain objects. */
export async function pack(value: unknown): Promise<unknown> {
  const found = new Map<Tensor, Packed>();
  const packed = replace(value, (one) => {
    if (one instanceof Picture) return { [PICTURE]: { ...one } };
    if (one instanceof Scheduler) return { [SCHEDULER]: one.config };
    if (!(one instanceof Tensor)) return undefined;
    if (!found.has(one)) found.set(one, { shape: one.shape, dtype: one.dtype });
    return { [TENSOR]: found.get(one) };
  });
  // all are asked for at once: what is disposed of behind this call is sent nevertheless
  const fill = async ([t, to]: [Tensor, Packed]) => {
    to.data = t.host?.slice() ?? (await t.data()); // the values of a leaf need no device
  };
  await Promise.all([...found].map(fill));
  return packed;
}

/** The same of a result, whose tensors are computed and disposed of. */
export async function packResult(result: unknown): Promise<unknown> {
  const own = new Set<Tensor>();
  replace(result, (value) => (value instanceof Tensor && own.add(value) ? value : undefined));
  try {
    await run([...own]);
    return await pack(result);
  } finally {
    for (const t of own) t.dispose();
  }
}

/** What was packed: tensors with their values on the host, which `made` hears of, pictures, schedulers. */
export const unpack = (packed: unknown, made: (t: Tensor) => void = () => {}): unknown =>
  replace(packed, (value) => {
    const { [PICTURE]: picture, [SCHEDULER]: config, [TENSOR]: sent } = (value ?? {}) as Partial<PackedValue>;
    if (picture) return new Picture(picture, picture.settings);
    if (config) return schedulerOf(config);
    if (!sent) return undefined;
    const t = tensor(sent.data!, sent.shape, { dtype: sent.dtype });
    made(t);
    return t;
  });
type PackedValue = { [PICTURE]: Picture; [SCHEDULER]: object; [TENSOR]: Packed };

/** A copy of nested lists and plain objects; `swap` gives what replaces a value in it, or undefined. */
export function replace(value: unknown, swap: (value: unknown) => unknown): unknown {
  const swapped = swap(value);
  if (swapped !== undefined) return swapped;
  if (Array.isArray(value)) return value.map((one) => replace(one, swap));
  if (typeof value !== 'object' || !value || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, replace(one, swap)]));
}
