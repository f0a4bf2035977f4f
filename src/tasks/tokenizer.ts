// Texts to ids: tokenizer.json run by @huggingface/tokenizers, with what that leaves out: padding, truncation, old file forms.
import { Tokenizer } from '@huggingface/tokenizers';
import { explain, UserError } from '../io/error.ts';
import { isObject, parseObject } from '../io/json.ts';
import { tensor } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { clipTokenizer } from './clip-vocabulary.ts';

/** A folder of text files: a `Folder`, or the files beside a checkpoint. */
export type TextFiles = { name: string; text(file: string): Promise<string | undefined> };

export type TokenizerOptions = {
  /** Rows as long as the longest (`true`), or as `max_length`. */
  padding?: boolean | 'longest' | 'max_length';
  /** Cut to `max_length`; the token that ends a text stays its last. */
  truncation?: boolean;
  /** Default: the tokenizer's `model_max_length`. */
  max_length?: number;
};

export type TextTokenizer = {
  /** i32 [texts, tokens]; `attention_mask` is 1 where there is text and 0 where there is padding. */
  (texts: string | readonly string[], options?: TokenizerOptions): { input_ids: Tensor; attention_mask: Tensor };
  /** Ids of one text, with the tokens that begin and end it. */
  encode(text: string): number[];
  decode(ids: readonly number[], options?: { skip_special_tokens?: boolean }): string;
  pad_token_id: number;
  model_max_length: number;
};

type Config = Record<string, unknown>;

/** The tokenizer in a folder. Throws a UserError when its files are missing or damaged. */
export async function loadTokenizer(files: TextFiles): Promise<TextTokenizer> {
  const json = async (name: string) => {
    const text = await files.text(name);
    return text === undefined ? undefined : parseObject(text, name);
  };
  const config = (await json('tokenizer_config.json')) ?? {};
  const whole = (await json('tokenizer.json')) ?? (await fromVocabulary(files, config));
  const tokenizer = await explain('tokenizer.json', 'cannot be used', () => new Tokenizer(whole, config));
  return textTokenizer(tokenizer, config);
}

/** Older folders hold a vocabulary and merges instead; a sentencepiece model is not read here. */
async function fromVocabulary(files: TextFiles, config: Config): Promise<object> {
  const [vocab, merges] = [await files.text('vocab.json'), await files.text('merges.txt')];
  const kind = String(config.tokenizer_class ?? 'CLIPTokenizer');
  if (vocab !== undefined && merges !== undefined && kind.startsWith('CLIPTokenizer')) {
    return clipTokenizer(parseObject(vocab, 'vocab.json'), merges);
  }
  throw new UserError(
    `[${files.name}] no tokenizer.json: want it beside the weights. From older files it is made once in Python: ` +
      `transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`,
  );
}

function textTokenizer(tokenizer: Tokenizer, config: Config): TextTokenizer {
  const prepare = String(config.tokenizer_class).startsWith('SiglipTokenizer') ? canonical : (text: string) => text;
  const special = (name: string) => {
    const token = isObject(config[name]) ? config[name].content : config[name];
    return typeof token === 'string' ? tokenizer.token_to_id(token) : undefined;
  };
  const pad_token_id = special('pad_token') ?? special('eos_token') ?? 0;
  const longest = Number(config.model_max_length ?? Number.POSITIVE_INFINITY);
  const model_max_length = longest < 1e9 ? longest : Number.POSITIVE_INFINITY; // 1e30 stands for "no limit"
  const isLeft = config.padding_side === 'left';

  const encode = (text: string) => tokenizer.encode(prepare(text)).ids;
  const batch = (texts: string | readonly string[], options: TokenizerOptions = {}) => {
    const { padding = false, truncation = false, max_length = model_max_length } = options;
    const rows = (typeof texts === 'string' ? [texts] : texts).map((text) => {
      const ids = encode(text);
      return truncation && ids.length > max_length ? [...ids.slice(0, max_length - 1), ids.at(-1)!] : ids;
    });
    const width = padding === 'max_length' ? max_length : Math.max(0, ...rows.map((ids) => ids.length));
    const bad = rows.findIndex((ids) => (padding ? ids.length > width : ids.length !== width));
    if (bad >= 0 || !Number.isFinite(width)) {
      const want = padding ? 'truncation: true and a max_length' : 'padding: true';
      throw new UserError(`[tokenizer] texts of different lengths: got ${rows.map((r) => r.length)} tokens, want ${want}`);
    }
    const fill = (pad: number, of: (ids: number[]) => number[]) => {
      const values = rows.flatMap((ids) => {
        const rest = new Array<number>(width - ids.length).fill(pad);
        return isLeft ? [...rest, ...of(ids)] : [...of(ids), ...rest];
      });
      return tensor(Int32Array.from(values), [rows.length, width]);
    };
    return { input_ids: fill(pad_token_id, (ids) => ids), attention_mask: fill(0, (ids) => ids.map(() => 1)) };
  };
  const decode: TextTokenizer['decode'] = (ids, options) => tokenizer.decode([...ids], options);
  return Object.assign(batch, { encode, decode, pad_token_id, model_max_length });
}

/** SigLIP's text rule (big_vision's canonicalize_text): lower case, no ASCII punctuation, single spaces. */
const canonical = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/\s+/g, ' ')
    .trim();
