// Keys and values of the tokens so far: tensors of a capacity that are written in place, and how much of them counts.
import { run } from '../exec/run.ts';
import type { Device } from '../gpu/device.ts';
import { arange, concat, full, overwrite } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { keyMask } from './embeddings.ts';

export type CacheSizes = { num_hidden_layers: number; num_key_value_heads: number; head_dim: number };

/**
 * What lies beyond the length is never seen: its probability is 0, which changes no bit of a sum. So a result depends
 * neither on the capacity nor on how the tokens were cut in pieces. It has to be finite, though: 0 times NaN is NaN.
 */
export class KVCache {
  /** Keys and values of each layer in turn, [B, heads, capacity, d]; a write puts its result in the place of its state. */
  readonly tensors: Tensor[];
  /** Tokens that count; a scalar tensor while a step that takes it as an argument is recorded. */
  length: number | Tensor;

  constructor(tensors: readonly Tensor[], length: number | Tensor = 0) {
    this.tensors = [...tensors];
    this.length = length;
  }

  static async empty(c: CacheSizes, batch: number, capacity: number, device?: Device): Promise<KVCache> {
    const tensors = Array.from({ length: 2 * c.num_hidden_layers }, () =>
      full([batch, c.num_key_value_heads, capacity, c.head_dim], 0).contiguous(),
    );
    await run(tensors, { device });
    return new KVCache(tensors);
  }

  get capacity(): number {
    return this.tensors[0]!.shape[2]!;
  }
  get nbytes(): number {
    return this.tensors.reduce((n, t) => n + t.nbytes, 0);
  }

  /** Writes those of new tokens [B, heads, L, d] behind the others; gives all, [B, heads, capacity, d]. */
  update(layer: number, key: Tensor, value: Tensor): [Tensor, Tensor] {
    const [k, v] = [2 * layer, 2 * layer + 1];
    this.tensors[k] = overwrite(this.tensors[k]!, key, 2, this.length);
    this.tensors[v] = overwrite(this.tensors[v]!, value, 2, this.length);
    return [this.tensors[k], this.tensors[v]];
  }

  /** Moves to tensors of a larger capacity. */
  async grow(capacity: number): Promise<void> {
    if (capacity <= this.capacity) return;
    const made = this.tensors.map((t) => widen(t, 2, capacity));
    await run(made);
    for (const [i, t] of made.entries()) {
      this.tensors[i]!.dispose();
      this.tensors[i] = t;
    }
  }

  dispose(): void {
    for (const t of this.tensors) t.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** With zeros behind it in a dimension, up to a size. */
export function widen(t: Tensor, dim: number, size: number): Tensor {
  const shape = t.shape.map((n, i) => (i === dim ? size - n : n));
  return shape[dim] === 0 ? t : concat([t, full(shape, 0, t.dtype)], dim);
}

/** Which keys of a cache L new tokens see: bool [B or 1, 1, L, capacity]. `attention_mask` may end before the capacity does. */
export function visible({ capacity, length }: KVCache, L: number, attention_mask?: Tensor): Tensor {
  const before = arange(capacity).le(arange(L).add(length).unsqueeze(-1));
  if (!attention_mask) return before.reshape([1, 1, L, capacity]);
  const missing = capacity - attention_mask.shape[1]!;
  const mask = attention_mask.to('i32');
  const whole = missing > 0 ? concat([mask, full([mask.shape[0]!, missing], 1, 'i32')], 1) : mask;
  return before.where(keyMask(whole)!, false);
}

/** Which keys are among the last `window` that each query sees, by their places [1 or B, S] and [1 or B, L]: bool [1 or B, 1, L, S]. */
export const inWindow = (window: number, keys: Tensor, queries: Tensor): Tensor =>
  keys.unsqueeze(1).gt(queries.sub(window).unsqueeze(-1)).unsqueeze(1);
