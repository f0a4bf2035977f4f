// Text from tokens as they come: never half a character, and nothing of what may become a stop string.
import { checkFunction, checkOptions, describe } from '../tensor/check.ts';

type Decode = (ids: readonly number[]) => string;

const UNFINISHED = '\ufffd'; // what decoders make of bytes that are no whole character

/** What each token adds to the text. The pieces together are the text of all tokens. */
export class Detokenizer {
  readonly #decode: Decode;
  readonly #ids: number[] = [];
  /** Tokens from here to `#given` are what the next ones are decoded with: what a token is may depend on the one before. */
  #from = 0;
  #given = 0;

  constructor(decode: Decode) {
    this.#decode = decode;
  }

  push(id: number): string {
    this.#ids.push(id);
    return this.#more(false);
  }
  /** What was held back. */
  end(): string {
    return this.#more(true);
  }

  #more(all: boolean): string {
    const before = this.#decode(this.#ids.slice(this.#from, this.#given));
    const now = this.#decode(this.#ids.slice(this.#from));
    if (now.length <= before.length || (!all && now.endsWith(UNFINISHED))) return '';
    this.#from = this.#given;
    this.#given = this.#ids.length;
    return now.slice(before.length);
  }
}

/** Ends a text before the first of some strings, which may come in pieces. */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';
  isOver = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '');
  }

  /** The part of the text so far that is certain. */
  push(text: string): string {
    const all = this.#held + text;
    const found = this.#stops.map((stop) => all.indexOf(stop)).filter((at) => at >= 0);
    this.isOver = found.length > 0;
    const end = this.isOver ? Math.min(...found) : all.length - this.#beginning(all);
    this.#held = this.isOver ? '' : all.slice(end);
    return all.slice(0, end);
  }
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  /** How many characters at the end may begin a stop string. */
  #beginning(text: string): number {
    const most = Math.max(0, ...this.#stops.map((stop) => stop.length - 1));
    for (let n = Math.min(most, text.length); n > 0; n--) {
      if (this.#stops.some((stop) => stop.startsWith(text.slice(-n)))) return n;
    }
    return 0;
  }
}

export type StreamerOptions = {
  /** Leave the prompt out. */
  skip_prompt?: boolean;
  skip_special_tokens?: boolean;
  /** Gets each piece of text; printed in one line after the other without it. */
  callback_function?: (text: string) => void;
};

/** Text of what `generate({ streamer })` generates, piece by piece, as in transformers.js. For one row. */
export class TextStreamer {
  readonly #callback: (text: string) => void;
  readonly #text: Detokenizer;
  #isPrompt: boolean;

  constructor(
    tokenizer: { decode(ids: readonly number[], options: { skip_special_tokens: boolean }): string },
    options: StreamerOptions = {},
  ) {
    if (typeof tokenizer?.decode !== 'function')
      throw new TypeError(`[TextStreamer] tokenizer: got ${describe(tokenizer)}, want one of AutoTokenizer`);
    checkOptions('TextStreamer', options, '{ skip_prompt: true }');
    const { skip_prompt = false, skip_special_tokens = true, callback_function = print } = options;
    checkFunction('TextStreamer', 'callback_function', callback_function);
    this.#text = new Detokenizer((ids) => tokenizer.decode(ids, { skip_special_tokens }));
    this.#callback = callback_function;
    this.#isPrompt = skip_prompt;
  }

  put(tokens: readonly (readonly number[])[]): void {
    if (!Array.isArray(tokens?.[0]))
      throw new TypeError(`[TextStreamer] put: got ${describe(tokens)}, want a row of tokens`);
    if (tokens.length !== 1) throw new RangeError(`[TextStreamer] got ${tokens.length} rows, want one`);
    if (!this.#isPrompt) for (const id of tokens[0]!) this.#give(this.#text.push(id));
    this.#isPrompt = false;
  }
  end(): void {
    this.#give(this.#text.end());
  }

  #give(text: string): void {
    if (text !== '') this.#callback(text);
  }
}

const print = (text: string): void => {
  const { stdout } = globalThis.process ?? {};
  if (stdout) stdout.write(text);
  else console.log(text);
};
