// A causal model at work on a prompt: its pieces, then a token at a time. A chosen token stays on the device and feeds the
// next step.
import { run } from '../exec/run.ts';
import type { Pretrained } from '../io/pretrained.ts';
import type { LlamaInputs } from '../models/llama.ts';
import { insert } from '../nn/embeddings.ts';
import { type CacheSizes, KVCache, widen } from '../nn/kv-cache.ts';
import { arange, overwrite, tensor } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Generation } from './generation-config.ts';
import { choose, process, processorsOf } from './sampling.ts';
import type { Inserts } from './spans.ts';
import { type Arguments, asTensors, Steps, type Values } from './steps.ts';

/** What generation needs of a model. */
export type CausalLM = Pretrained<{
  forward(inputs: LlamaInputs): { logits: Tensor; hidden_states: Tensor[] };
  embed_tokens(ids: Tensor): Tensor;
  inv_freq(tokens: number): Tensor;
  sizes: CacheSizes & { vocab_size: number; max_position_embeddings: number };
}>;

/** Rows of one length; 0 in the mask is padding. */
export type Prompt = { ids: number[][]; mask?: number[][] | undefined } & Partial<Inserts>;
const CHUNK = 256; // tokens of a prompt in one run, which bounds its memory
const SMALLEST = 256; // capacity of a cache; it doubles

/** What a recording of a step depends on, beside its arguments. */
type Kind = Pick<Generation, 'do_sample' | 'eos_token_id' | 'pad_token_id'> & {
  processors: ReturnType<typeof processorsOf>;
  output_logits: boolean;
};

/**
 * A step as ops: `ids` [B, L] after `length` others, to the `next` token of each row and the state behind it. `history`:
 * all tokens so far; `open`: rows without an eos; `mask`, `offset`, `positions`: of rows with padding; `embeds`: rows that
 * stand in the place of tokens, `at` [B, L] which.
 */
function record(model: CausalLM, kind: Kind, a: Values): Values {
  const states = Object.keys(a).filter((name) => name.startsWith('cache'));
  const cache = new KVCache(
    states.map((name) => a[name]!),
    a.length!,
  );
  const [B, L] = a.ids!.shape as [number, number];
  const counted = a.offset && arange(L).add(a.length!).sub(a.offset);
  const given = a.at ? { inputs_embeds: insert(model.embed_tokens(a.ids!), a.at, a.embeds!) } : { input_ids: a.ids! };
  const { logits } = model.forward({
    ...{ ...given, attention_mask: a.mask, position_ids: a.positions ?? counted },
    ...{ past_key_values: cache, inv_freq: a.inv_freq!, logits_to_keep: 1 },
  });
  const last = logits.reshape([B, -1]);
  const result: Values = Object.fromEntries(states.map((name, i) => [name, cache.tensors[i]!]));
  if (a.history) result.history = overwrite(a.history, a.ids!, 1, a.length!);
  const scores = process(last, kind.processors, a, result.history && { ids: result.history, count: a.count! });
  const random = kind.do_sample ? { position: a.count!, seed_low: a.low!, seed_high: a.high! } : undefined;
  let next = choose(scores, random);
  if (a.open) {
    next = a.open.where(next, kind.pad_token_id);
    result.open = kind.eos_token_id.reduce((open, id) => open.where(next.ne(id), false), a.open);
  }
  return { ...result, ...(kind.output_logits && { logits: last }), next: next.unsqueeze(1) };
}

const steps = new Steps();
/** Drops what was recorded of a model. */
export const forgetSteps = (model: CausalLM): void => steps.forget(model);

export const capacityFor = (tokens: number) => Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(tokens)));
export const integers = (rows: readonly (readonly number[])[]) =>
  tensor(rows.flat(), [rows.length, rows[0]!.length], { dtype: 'i32' });

/** One row, or several in step, on their way. What it holds beside the cache is disposed with it. */
export class Decoder implements Disposable {
  readonly #model: CausalLM;
  readonly #prompt: Prompt;
  readonly #generation: Generation;
  readonly #kind: Kind;
  readonly #cache: KVCache;
  /** Beside the cache: what a step replaces, and what is the same for all steps of a capacity. */
  #state: Values = {};
  #fixed: Values = {};
  /** The last token of each row, which feeds the next step. */
  next: Tensor | undefined;
  /** Tokens in the cache. */
  length: number;

  constructor(
    model: CausalLM,
    cache: KVCache,
    length: number,
    prompt: Prompt,
    generation: Generation,
    output_logits: boolean,
  ) {
    const { do_sample, eos_token_id, pad_token_id } = generation;
    const processors = processorsOf(generation, model.sizes.vocab_size);
    this.#kind = { do_sample, eos_token_id, pad_token_id, processors, output_logits };
    this.#model = model;
    this.#prompt = prompt;
    this.#generation = generation;
    this.#cache = cache;
    this.length = length;
  }

  /** Computes what is missing of the prompt; its last piece gives the first token. */
  async start(isOpen: readonly boolean[]): Promise<Values> {
    const { ids, mask } = this.#prompt;
    const L = ids[0]!.length;
    await this.#reserve(L);
    if (this.#kind.processors.includes('repetition_penalty')) {
      const { capacity } = this.#cache;
      this.#state.history = integers(ids.map((row) => [...row, ...new Array<number>(capacity - L).fill(0)]));
    }
    if (ids.length > 1) this.#state.open = tensor([...isOpen], { dtype: 'bool' });
    const positions = mask?.map(positionsOf);
    using inserted = await this.#inserted();
    for (;;) {
      const end = Math.min(this.length + CHUNK, L);
      const part = (rows: readonly number[][]) => rows.map((row) => row.slice(this.length, end));
      const columns = (rows: readonly number[][]) => integers(part(rows));
      const at = inserted && part(inserted.at);
      const given: Values = {
        ids: columns(ids),
        ...(positions && { positions: columns(positions) }),
        ...(at?.some((row) => row.some((i) => i >= 0)) && { at: integers(at) }),
      };
      const more = given.at ? { ...given, embeds: inserted!.embeds } : given;
      const { offset: _, ...args } = this.#arguments(more, end - this.length, L);
      const result = record(this.#model, this.#kind, asTensors(args));
      const isLast = end === L;
      const wanted = isLast ? result : only(result, /^(cache|history)/);
      try {
        await run(Object.values(wanted), { signal: this.#generation.signal });
      } finally {
        for (const t of Object.values(given)) t.dispose();
      }
      this.#take(wanted, end);
      if (isLast) return result;
    }
  }

  /** What stands in the place of tokens that are not in the cache yet, and which row of it at each place, or -1. */
  async #inserted(): Promise<(Disposable & { embeds: Tensor; at: number[][] }) | undefined> {
    const { ids, spans = [], embeds: make } = this.#prompt;
    const from = spans.findIndex(({ end }) => end > this.length);
    if (from < 0) return undefined;
    const at = ids.map((row) => row.map(() => -1));
    let n = 0;
    for (const { row, start, end } of spans.slice(from)) for (let i = start; i < end; i++) at[row]![i] = n++;
    const embeds = await make!(from, { device: this.#model.device, signal: this.#generation.signal });
    return { embeds, at, [Symbol.dispose]: () => embeds.dispose() };
  }

  /** Sends the step that the last token feeds. */
  async step(): Promise<Values> {
    this.#generation.signal?.throwIfAborted();
    await this.#reserve(this.length + 1);
    const args = this.#arguments({ ids: this.next! }, 1, this.length + 1);
    const [model, kind] = [this.#model, this.#kind]; // what is recorded outlives this decoder: it must not hold it
    const result = await steps.run(model, kind, args, (a) => record(model, kind, a));
    this.#take(result, this.length + 1);
    return result;
  }

  /** Room for so many tokens. */
  async #reserve(tokens: number): Promise<void> {
    const capacity = capacityFor(tokens);
    const { mask } = this.#prompt;
    if (mask && (!this.#fixed.mask || capacity > this.#cache.capacity)) {
      for (const t of Object.values(this.#fixed)) t.dispose();
      const room = Math.max(capacity, this.#cache.capacity);
      const whole = mask.map((row) => [...row, ...new Array<number>(room - row.length).fill(1)]);
      this.#fixed = { mask: integers(whole), offset: integers(mask.map((row) => [row.filter((v) => v === 0).length])) };
    }
    if (capacity <= this.#cache.capacity) return;
    await this.#cache.grow(capacity);
    const { history } = this.#state;
    if (!history) return;
    this.#state.history = widen(history, 1, capacity);
    await this.#state.history.realize();
    history.dispose();
  }

  #arguments(given: Values, L: number, tokens: number): Arguments {
    const { processors, do_sample } = this.#kind;
    const { seed } = this.#generation;
    const cache = Object.fromEntries(this.#cache.tensors.map((t, i) => [`cache${i}`, t]));
    const values = Object.fromEntries(processors.map((name) => [name, this.#generation[name]]));
    const count = this.length + L;
    return {
      ...{ ...cache, ...this.#state, ...this.#fixed, ...given, ...values },
      ...{ length: this.length, count, inv_freq: this.#model.inv_freq(tokens) },
      ...(do_sample && { low: seed % 2 ** 32, high: Math.floor(seed / 2 ** 32) }),
    };
  }

  /** The state behind a step. */
  #take(result: Values, length: number): void {
    const { history, open, next } = result;
    for (const i of this.#cache.tensors.keys()) this.#cache.tensors[i] = result[`cache${i}`]!;
    if (history) this.#state.history = history;
    if (open) this.#state.open = replaced(this.#state.open, open);
    if (next) this.next = next; // whoever reads the old one disposes it
    this.length = length;
  }

  [Symbol.dispose](): void {
    for (const t of [...Object.values(this.#state), ...Object.values(this.#fixed), this.next]) t?.dispose();
  }
}

const replaced = (old: Tensor | undefined, value: Tensor) => {
  if (old !== value) old?.dispose();
  return value;
};
const only = (values: Values, names: RegExp): Values =>
  Object.fromEntries(Object.entries(values).filter(([name]) => names.test(name)));
/** Places of tokens, not counting padding, as generate has them. */
function positionsOf(mask: readonly number[]): number[] {
  let n = 0;
  return mask.map((v) => (v === 0 ? 0 : n++));
}
