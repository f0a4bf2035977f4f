// One conversation with a language model: its tokens, the cache behind them, and how to put both away.
import { run } from '../exec/run.ts';
import type { Message } from '../io/chat-template.ts';
import { UserError } from '../io/error.ts';
import type { Config } from '../io/pretrained.ts';
import { readHeader, type StoredTensor, writeSafetensors } from '../io/safetensors.ts';
import { fromBytes } from '../io/source.ts';
import type { Tokenizer } from '../io/tokenizer.ts';
import { KVCache } from '../nn/kv-cache.ts';
import { tensor } from '../ops/index.ts';
import { checkOptions, describe } from '../tensor/check.ts';
import { decode, forget, type Held } from './decode.ts';
import type { CausalLM } from './decoder.ts';
import { type GenerateOptions, settle } from './generation-config.ts';
import { commonLength, type Inserts, lastOf, type Span } from './spans.ts';
import { Detokenizer, StopStrings } from './text-stream.ts';

export type TextOptions = GenerateOptions & {
  /** Texts that end the answer, which is without them. */
  stop?: string | readonly string[] | undefined;
  /** A prompt that is longer than the model's context loses its beginning, in place of an error. */
  truncation?: boolean | undefined;
};

/** What became of an answer. */
export type Answer = {
  text: string;
  prompt_ids: number[];
  ids: number[];
  finish_reason: 'eos' | 'stop' | 'length' | 'aborted';
  stats: {
    prompt_tokens: number;
    reused_tokens: number;
    new_tokens: number;
    first_token_ms: number;
    total_ms: number;
    tokens_per_second: number;
  };
};

/** What a session runs: `read` makes a prompt of what it is asked. */
export type Chat<I> = {
  model: CausalLM & { generation_config: Config };
  tokenizer: Tokenizer;
  read(input: I): PromptRow | Promise<PromptRow>;
  /** Texts that end any answer. */
  stop?: readonly string[];
};
type PromptRow = { ids: readonly number[] } & Partial<Inserts>;

/**
 * Answers run one after the other: `stream` waits for its turn. In the loop of an answer it would wait for itself, so it is
 * refused while a reader has a piece and has not asked for the next; `save`, `load` and `reset` are while another call is at
 * work or waits. `dispose` ends an answer before its next token.
 */
export class Session<I = string | readonly Message[]> implements Disposable {
  readonly #chat: Chat<I>;
  readonly #held: { at?: Held | undefined } = {};
  #turn: Promise<unknown> = Promise.resolve();
  #calls = 0; // at work or waiting
  #isWithReader = false;
  #isOver = false;
  /** The last answer. */
  last: Answer | undefined;

  constructor(chat: Chat<I>) {
    this.#chat = chat;
  }

  /** Tokens whose keys and values are there. */
  get tokens(): readonly number[] {
    return this.#held.at?.ids ?? [];
  }
  /** Bytes on the device. */
  get nbytes(): number {
    return this.#held.at?.cache.nbytes ?? 0;
  }

  /**
   * The answer to messages, or what follows a text, piece by piece. What the session knows of the prompt is not computed
   * again. Leaving the loop ends the answer. Throws a UserError in the loop of another answer of this session.
   */
  async *stream(input: I, options: TextOptions = {}): AsyncGenerator<string, Answer> {
    for (let waited = 0; this.#isWithReader; waited += 10) {
      if (waited >= PATIENCE) this.#checkFree('stream');
      await new Promise((resolve) => setTimeout(resolve, 10)); // a reader elsewhere comes back by itself
    }
    using _ = await this.#take();
    return yield* this.#answer(input, options);
  }

  /** A turn behind those that were asked for before. */
  async #take(): Promise<Disposable> {
    const before = this.#turn;
    let end = () => {};
    this.#turn = new Promise<void>((resolve) => (end = resolve));
    this.#calls++;
    await before;
    const dispose = () => {
      end();
      if (--this.#calls === 0 && this.#isOver) forget(this.#held);
    };
    return { [Symbol.dispose]: dispose };
  }

  #checkOpen(): void {
    if (this.#isOver) throw new UserError('[session] it was disposed of: want a new one');
  }
  /** Throws unless nothing else is at work. */
  #checkFree(what: string): void {
    this.#checkOpen();
    if (this.#calls === 0) return;
    throw new UserError(`[session] ${what}: got it while another call is at work, want it behind the end of that`);
  }

  async *#answer(input: I, options: TextOptions): AsyncGenerator<string, Answer> {
    const { model, tokenizer } = this.#chat;
    const start = performance.now();
    this.#checkOpen();
    checkOptions('generate', options, '{ max_new_tokens: 32 }');
    const { stop = [], truncation = false, ...rest } = options;
    const ends = [stop].flat();
    if (!ends.every((text) => typeof text === 'string')) {
      throw new UserError(`[generate] stop: got ${describe(stop)}, want texts`);
    }
    const generation = settle(rest, model.generation_config, model.config);
    const all = await this.#chat.read(input);
    if (all.ids.length === 0) throw new UserError('[generate] the prompt is empty: want at least one token');
    const row = fitContext(all, model.sizes.max_position_embeddings, generation.max_new_tokens, truncation);
    const prompt_ids = [...row.ids];
    const room = model.sizes.max_position_embeddings - prompt_ids.length;
    const max_new_tokens = Math.min(generation.max_new_tokens, room);
    const text = new Detokenizer((ids) => tokenizer.decode(ids, { skip_special_tokens: true }));
    const stops = new StopStrings([...ends, ...(this.#chat.stop ?? [])]);
    const reused = Math.min(commonLength(this.#held.at ?? { ids: [] }, row), prompt_ids.length - 1);
    const ids: number[] = [];
    let first_token_ms = 0;
    let whole = '';
    let finish_reason: Answer['finish_reason'] = 'aborted'; // unless it comes to an end of its own
    const note = (piece: string) => {
      whole += piece;
      return piece;
    };
    try {
      for await (const { tokens } of decode(
        model,
        this.#held,
        { ...row, ids: [prompt_ids] },
        { ...generation, max_new_tokens },
      )) {
        this.#checkOpen();
        const [token] = tokens as [number];
        first_token_ms ||= performance.now() - start;
        ids.push(token);
        const isEnd = generation.eos_token_id.includes(token);
        const piece = isEnd ? '' : note(stops.push(text.push(token)));
        finish_reason = 'aborted';
        if (stops.isOver) finish_reason = 'stop';
        else if (isEnd) finish_reason = 'eos';
        else if (ids.length === max_new_tokens) finish_reason = 'length';
        const isLast = finish_reason !== 'aborted';
        if (piece !== '') yield* this.#give(piece);
        if (isLast) break;
      }
      if (finish_reason !== 'stop') {
        const rest = note(stops.push(text.end()) + stops.end());
        if (rest !== '') yield* this.#give(rest);
      }
    } finally {
      const total_ms = performance.now() - start;
      const stats = {
        ...{
          prompt_tokens: prompt_ids.length,
          reused_tokens: reused,
          new_tokens: ids.length,
          first_token_ms,
          total_ms,
        },
        tokens_per_second: ids.length > 1 ? (1000 * (ids.length - 1)) / (total_ms - first_token_ms) : 0,
      };
      this.last = { text: whole, prompt_ids, ids, finish_reason, stats };
    }
    return this.last;
  }

  *#give(piece: string): Generator<string> {
    this.#isWithReader = true;
    try {
      yield piece;
    } finally {
      this.#isWithReader = false;
    }
  }

  /** The tokens and the cache behind them, as a safetensors file; `notes` are for whoever loads it. */
  async save(notes: Readonly<Record<string, string>> = {}): Promise<Uint8Array> {
    this.#checkFree('save');
    checkOptions('session', notes, "{ title: 'a talk' }", 'notes');
    using _ = await this.#take();
    const { at } = this.#held;
    const ids = Int32Array.from(this.tokens);
    const tensors = new Map<string, StoredTensor>([['ids', { dtype: 'I32', shape: [ids.length], data: ids }]]);
    for (const [i, t] of (at?.cache.tensors ?? []).entries()) {
      using kept = t.narrow(2, 0, ids.length).contiguous();
      tensors.set(nameOf(i), { dtype: 'F32', shape: kept.shape, data: (await kept.data()) as Float32Array });
    }
    const pictures = JSON.stringify(at?.spans ?? []);
    return writeSafetensors(tensors, [['format', FORMAT], [SPANS, pictures], ...Object.entries(notes)]);
  }

  /** Takes over what `save` gave, of the same model; gives its notes. Throws a UserError for anything else. */
  async load(bytes: Uint8Array): Promise<Record<string, string>> {
    this.#checkFree('load');
    if (!(bytes instanceof Uint8Array))
      throw new UserError(`[session] load: got ${describe(bytes)}, want a Uint8Array`);
    using _ = await this.#take();
    const { model } = this.#chat;
    const { tensors, metadata } = await readHeader(fromBytes(bytes, 'session'));
    const c = model.sizes;
    const idsInfo = tensors.get('ids');
    const n = idsInfo?.shape[0] ?? 0;
    const shape = [1, c.num_key_value_heads, n, c.head_dim];
    const names = Array.from({ length: n > 0 ? 2 * c.num_hidden_layers : 0 }, (_, i) => nameOf(i));
    const fits = names.every(
      (name) => tensors.get(name)?.shape.join() === shape.join() && tensors.get(name)?.dtype === 'F32',
    );
    if (metadata.get('format') !== FORMAT || idsInfo?.dtype !== 'I32' || !fits || tensors.size !== names.length + 1) {
      throw new UserError(WRONG);
    }
    const own = new Uint8Array(bytes); // a slice of Node's Buffer would share the memory of all
    const part = (name: string) => {
      const { begin, end } = tensors.get(name)!;
      return own.slice(begin, end).buffer;
    };
    const ids = [...new Int32Array(part('ids'))];
    const spans = spansOf(metadata.get(SPANS));
    const made = names.map((name) => tensor(new Float32Array(part(name)), shape));
    await run(made, { device: model.device });
    this.#forget();
    if (n > 0) this.#held.at = { cache: new KVCache(made, n), ids, spans };
    return Object.fromEntries(metadata);
  }

  /** Forgets everything. */
  reset(): void {
    this.#checkFree('reset');
    this.#forget();
  }
  #forget(): void {
    forget(this.#held);
    this.last = undefined;
  }

  /** Gives everything back, as soon as nothing is at work on it; there is no other call after it. */
  dispose(): void {
    this.#isOver = true;
    if (this.#calls === 0) this.#forget();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

const FORMAT = 'tessera-session';
const PATIENCE = 250; // ms that a reader may take over a piece while another call waits
const SPANS = 'spans'; // where pictures stand
const WRONG = '[session] not a session of this model: want a file that its session.save() gave';
const nameOf = (i: number) => `layers.${i >> 1}.${i % 2 === 0 ? 'key' : 'value'}`;

function spansOf(text = '[]'): Span[] {
  try {
    const spans = JSON.parse(text);
    if (Array.isArray(spans)) return spans;
  } catch {
    // damaged
  }
  throw new UserError(WRONG);
}

/** The prompt, or its end where that is asked for; an answer has room for its tokens, or half of the context. */
function fitContext(row: PromptRow, context: number, max_new_tokens: number, truncation: boolean): PromptRow {
  const { ids } = row;
  if (ids.length < context) return row;
  if (truncation) return lastOf(row, context - Math.min(max_new_tokens, Math.floor(context / 2)));
  throw new UserError(
    `[generate] the prompt has ${ids.length} tokens, ${ids.length - context + 1} more than fit with an answer in the ` +
      `model's context of ${context}: shorten it, or drop its beginning with truncation`,
  );
}
