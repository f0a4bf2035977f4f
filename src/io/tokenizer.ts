// Texts to ids and back, from a checkpoint's tokenizer.json and tokenizer_config.json, as transformers' fast tokenizers do it.
import { Tokenizer as Implementation } from '@huggingface/tokenizers';
import { checkOptions, describe } from '../tensor/check.ts';
import { charsmap } from './charsmap.ts';
import { type ChatOptions, type Message, type Part, renderChat } from './chat-template.ts';
import { asUserError, UserError } from './error.ts';
import { isObject, parseObject } from './json.ts';
import type { Folder } from './source.ts';
import { fromVocabAndMerges } from './vocab-merges.ts';

type Side = 'left' | 'right';
export type EncodeOptions = { add_special_tokens?: boolean };
export type DecodeOptions = { skip_special_tokens?: boolean; clean_up_tokenization_spaces?: boolean };
/** `padding`: true pads to the longest text, 'max_length' to `max_length` (default: the model's). */
export type BatchOptions = EncodeOptions & {
  padding?: boolean | 'longest' | 'max_length';
  truncation?: boolean;
  max_length?: number;
  padding_side?: Side;
};
/** One row per text; 1 in the mask is a token, 0 is padding. */
export type Batch = { input_ids: number[][]; attention_mask: number[][] };

export type Tokenizer = {
  (texts: string | readonly string[], options?: BatchOptions): Batch;
  encode(text: string, options?: EncodeOptions): number[];
  /** The text of `ids`; ids that are in no vocabulary are skipped. */
  decode(ids: Iterable<number | bigint>, options?: DecodeOptions): string;
  /** The tokens of a text, without the special ones around it. */
  tokenize(text: string): string[];
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  /** Messages as the text that the model was trained to answer, special tokens included. */
  apply_chat_template(messages: readonly Message<string | readonly Part[]>[], options?: ChatOptions): string;
  readonly bos_token_id: number | undefined;
  readonly eos_token_id: number | undefined;
  readonly pad_token_id: number | undefined;
  readonly unk_token_id: number | undefined;
  /** Most tokens that the model takes; Infinity when the files do not say. */
  readonly model_max_length: number;
  readonly padding_side: Side;
  /** tokenizer_config.json. */
  readonly config: Record<string, unknown>;
};

/** What is used of the library; its own declarations do not resolve under TypeScript's `nodenext`. */
type Library = {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: number[], options: Required<DecodeOptions>): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  normalizer: Step | null;
  pre_tokenizer: Step | null;
  post_processor: ((tokens: string[], pair: null, special: boolean) => { tokens: string[] }) | null;
  decoder: Step | null;
};
/** One step, or a sequence of steps under one of three names; `config` is its part of tokenizer.json. */
type Step = {
  config?: { type?: string; precompiled_charsmap?: unknown };
  normalizers?: Step[];
  tokenizers?: Step[];
  decoders?: Step[];
  pattern?: RegExp;
  normalize?(text: string): string;
  decode_chain?(tokens: string[]): string[];
};

/** Files without a limit say 1e30. */
const NO_LIMIT = 1e9;

/** The tokenizer of a checkpoint's folder: tokenizer.json, or vocab.json and merges.txt of the older classes. */
export async function loadTokenizer(folder: Folder): Promise<Tokenizer> {
  const read = async (file: string) => {
    const text = await folder.text(file);
    return text === undefined ? undefined : parseObject(text, file);
  };
  const own = { ...(await read('special_tokens_map.json')), ...(await read('tokenizer_config.json')) };
  const chat_template = (await folder.text('chat_template.jinja')) ?? (await read('chat_template.json'))?.chat_template;
  const config = { ...own, ...(chat_template !== undefined && { chat_template }) };
  const whole = await read('tokenizer.json');
  if (whole) return createTokenizer(whole, config);
  const [vocab, merges] = [await read('vocab.json'), await folder.text('merges.txt')];
  if (vocab && merges !== undefined) return createTokenizer(fromVocabAndMerges(vocab, merges, config), config);
  const model = (await folder.list()).find((name) => name.endsWith('.model'));
  const given = model ? `only ${model} (sentencepiece)` : 'none of these files';
  throw new UserError(`[${folder.name}] no tokenizer: got ${given}, want tokenizer.json, or vocab.json and merges.txt`);
}

/** A tokenizer from the parsed files. Throws a UserError when they are not a tokenizer's. */
export function createTokenizer(json: Record<string, unknown>, config: Record<string, unknown> = {}): Tokenizer {
  const where = 'tokenizer.json';
  let library: Library;
  try {
    // Two settings that the library acts on and the fast tokenizers do not.
    library = new Implementation(json, { ...config, remove_space: false, do_lowercase_and_remove_accent: false });
    correct(library);
  } catch (error) {
    throw asUserError(error, where, 'not a tokenizer that can be read');
  }
  const id = (name: string): number | undefined => {
    const token = isObject(config[name]) ? config[name].content : config[name];
    return typeof token === 'string' ? library.token_to_id(token) : undefined;
  };
  const guarded = <T>(what: string, work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw asUserError(error, where, what);
    }
  };
  const plain = (text: string): number[] => {
    if (typeof text !== 'string') throw new UserError(`[tokenizer] got ${describe(text)}, want a text`);
    return guarded('cannot encode', () => library.encode(text, { add_special_tokens: false }).ids);
  };
  const around = guarded('cannot add special tokens', () => specialTokens(library));
  const wrap = (ids: number[], special = true): number[] =>
    special ? [...around.before, ...ids, ...around.after] : ids;
  const limit = Number(config.model_max_length ?? Infinity);
  const truncateLeft = config.truncation_side === 'left';
  const tokenizer = {
    bos_token_id: id('bos_token'),
    eos_token_id: id('eos_token'),
    pad_token_id: id('pad_token'),
    unk_token_id: id('unk_token'),
    model_max_length: limit < NO_LIMIT ? limit : Infinity,
    padding_side: config.padding_side === 'left' ? ('left' as const) : ('right' as const),
    config,
    encode(text: string, options: EncodeOptions = {}) {
      checkOptions('tokenizer', options, '{ add_special_tokens: false }');
      return wrap(plain(text), options.add_special_tokens);
    },
    tokenize: (text: string) => plain(text).map((token) => library.id_to_token(token) ?? ''),
    token_to_id: (token: string) => library.token_to_id(token),
    id_to_token: (token: number) => library.id_to_token(token),
    apply_chat_template: (messages: readonly Message<string | readonly Part[]>[], options?: ChatOptions) =>
      renderChat(config, messages, options),
    decode(ids: Iterable<number | bigint>, given: DecodeOptions = {}) {
      checkOptions('tokenizer', given, '{ skip_special_tokens: true }');
      const { skip_special_tokens = false, clean_up_tokenization_spaces } = given;
      if (typeof ids !== 'object' || ids === null || !(Symbol.iterator in ids)) {
        throw new UserError(`[tokenizer] ids: got ${describe(ids)}, want a list of numbers`);
      }
      const known = Array.from(ids, Number).filter((token) => library.id_to_token(token) !== undefined);
      const clean = clean_up_tokenization_spaces ?? config.clean_up_tokenization_spaces === true;
      if (known.length === 0) return '';
      const options = { skip_special_tokens, clean_up_tokenization_spaces: clean };
      return guarded('cannot decode', () => library.decode(known, options));
    },
  };
  const batch = (texts: string | readonly string[], options: BatchOptions = {}): Batch => {
    if (typeof texts !== 'string' && !Array.isArray(texts)) {
      throw new UserError(`[tokenizer] texts: got ${describe(texts)}, want a text or a list of texts`);
    }
    checkOptions('tokenizer', options, '{ padding: true }');
    const most = lengthOf(options, tokenizer.model_max_length);
    const rows = (typeof texts === 'string' ? [texts] : texts).map((text) => {
      const ids = plain(text);
      if (!options.truncation || most === undefined) return wrap(ids, options.add_special_tokens);
      const kept = most - wrap([], options.add_special_tokens).length;
      if (kept < 0) throw new UserError(`[tokenizer] max_length: got ${most}, want room for the special tokens`);
      const cut = truncateLeft ? ids.slice(Math.max(0, ids.length - kept)) : ids.slice(0, kept);
      return wrap(cut, options.add_special_tokens);
    });
    return pad(rows, options, most, tokenizer);
  };
  return Object.assign(batch, tokenizer);
}

function lengthOf({ max_length, padding }: BatchOptions, limit: number): number | undefined {
  const most = max_length ?? (limit === Infinity ? undefined : limit);
  const bad = most === undefined ? padding === 'max_length' : !(Number.isInteger(most) && most > 0);
  if (bad) throw new UserError(`[tokenizer] max_length: got ${most ?? 'none'}, want an integer > 0`);
  return most;
}

/** Rows of tokens as a batch; `most`: the length for 'max_length'. */
export function pad(
  rows: number[][],
  { padding = false, padding_side }: BatchOptions,
  most: number | undefined,
  tokenizer: Pick<Tokenizer, 'pad_token_id' | 'padding_side'>,
): Batch {
  const longest = rows.reduce((n, row) => Math.max(n, row.length), 0);
  const length = padding === false ? 0 : padding === 'max_length' ? most! : longest;
  const left = (padding_side ?? tokenizer.padding_side) === 'left';
  const around = <T>(row: T[], fill: T[]): T[] => (left ? [...fill, ...row] : [...row, ...fill]);
  const result: Batch = { input_ids: [], attention_mask: [] };
  for (const row of rows) {
    const missing = Math.max(0, length - row.length);
    const fill = tokenizer.pad_token_id;
    if (missing > 0 && fill === undefined) {
      throw new UserError('[tokenizer] padding: this tokenizer has no pad token. Encode the texts one by one.');
    }
    result.input_ids.push(around(row, new Array<number>(missing).fill(fill!)));
    result.attention_mask.push(around(new Array<number>(row.length).fill(1), new Array<number>(missing).fill(0)));
  }
  return result;
}

/** What the post-processor puts before and after a text. */
function specialTokens(library: Library): { before: number[]; after: number[] } {
  if (!library.post_processor) return { before: [], after: [] };
  const mark = '\0text\0';
  const { tokens } = library.post_processor([mark], null, true);
  const at = tokens.indexOf(mark);
  if (at < 0) throw new Error('the post-processor drops the text');
  const ids = tokens.map((token) => (token === mark ? 0 : library.token_to_id(token)));
  const missing = tokens.find((_, i) => ids[i] === undefined);
  if (missing !== undefined) throw new Error(`the special token ${JSON.stringify(missing)} is not in the vocabulary`);
  return { before: ids.slice(0, at) as number[], after: ids.slice(at + 1) as number[] };
}

/** `\s` of the Rust library is Unicode's White_Space; JavaScript's also has U+FEFF and lacks U+0085. */
const BYTE_LEVEL =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Puts right where the library differs from the Rust tokenizers, which transformers uses. */
function correct({ normalizer, pre_tokenizer, decoder }: Library): void {
  for (const step of [normalizer, pre_tokenizer, decoder].flatMap(steps)) {
    const { type, precompiled_charsmap: map } = step.config ?? {};
    if (type === 'ByteLevel' && step.pattern) step.pattern = BYTE_LEVEL;
    if (type === 'Precompiled' && typeof map === 'string' && map !== '') step.normalize = charsmap(map);
    if (type === 'ByteFallback') step.decode_chain = joinBytes;
  }
}

/** A step, or the steps inside it. */
function steps(step: Step | null): Step[] {
  if (!step) return [];
  const inside = step.normalizers ?? step.tokenizers ?? step.decoders;
  return inside ? inside.flatMap(steps) : [step];
}

/** Runs of `<0x..>` tokens to text; a run that is not UTF-8 becomes one U+FFFD for each of its bytes. */
function joinBytes(tokens: string[]): string[] {
  const result: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length === 0) return;
    try {
      result.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
    } catch {
      result.push('\ufffd'.repeat(bytes.length));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
    else {
      flush();
      result.push(token);
    }
  }
  flush();
  return result;
}
