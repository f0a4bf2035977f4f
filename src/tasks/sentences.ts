// Texts to ids as CLIP and SigLIP were trained on them. T = texts, L = tokens.
import type { Config } from '../io/pretrained.ts';
import type { Tokenizer } from '../io/tokenizer.ts';
import { tensor } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { AutoTokenizer, type ModelSource, type ModelType } from './auto.ts';

const FAMILIES = {
  clip: { positions: 77, padding: 'longest', text: String },
  siglip: { positions: 64, padding: 'max_length', text: siglipText },
} as const;

/** As SigLIP was trained: lower case; the first version (with a tokenizer of its own) also drops ASCII punctuation. */
function siglipText(text: string, { config }: Tokenizer): string {
  const lower = text.toLowerCase();
  const name = config.tokenizer_class;
  if (typeof name !== 'string' || !name.startsWith('SiglipTokenizer')) return lower;
  return lower
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

const LONGEST = 64; // letters of a token; those of CLIP and SigLIP have fewer

/** The beginning of a text that is enough for so many tokens, of which a word is at least one. */
function beginning(text: string, tokens: number): string {
  const most = tokens * LONGEST;
  if (text.length <= most) return text;
  let count = 0;
  for (const { 0: word, index } of text.matchAll(/\S+/g)) {
    if (word.length > most) return text.slice(0, index + most);
    if (++count === tokens) return text.slice(0, index + word.length);
  }
  return text;
}

/** Tokens of a text, special ones included, and how many the model reads; of a text that is longer it is enough to know that. */
export type Length = { count: number; most: number };

/**
 * The function from texts to `input_ids` (i32 [T, L]) of a model; a text that is too long for it is cut. `lengthOf` tells of
 * one whether it is. Throws a UserError when there is no tokenizer.
 */
export async function sentences(
  from: ModelSource,
  model_type: ModelType,
  config: Config,
): Promise<((texts: readonly string[]) => Tensor) & { lengthOf(text: string): Length }> {
  const { positions, padding, text: clean } = FAMILIES[model_type];
  const { max_position_embeddings: max_length = positions } = { ...config.text_config, ...config.text_config_dict };
  const tokenizer = await AutoTokenizer.from_pretrained(from);
  const cleaned = (text: string, tokens: number) => beginning(clean(text, tokenizer), tokens);
  const idsOf = (texts: readonly string[]) => {
    const short = texts.map((text) => cleaned(text, max_length));
    return tensor(tokenizer(short, { padding, truncation: true, max_length }).input_ids, { dtype: 'i32' });
  };
  const lengthOf = (text: string) => ({
    count: tokenizer.encode(cleaned(text, max_length + 1)).length,
    most: max_length,
  });
  return Object.assign(idsOf, { lengthOf });
}
