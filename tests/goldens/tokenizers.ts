// Tokenizers of transformers, from a folder's own files.
import { AutoTokenizer } from '../../src/tasks/auto.ts';
import { type Family, family, method, type Outputs } from './family.ts';
import { integers } from './golden.ts';

type Tokenizer = Awaited<ReturnType<typeof AutoTokenizer.from_pretrained>>;
type Padded = ReturnType<Tokenizer>;

const isText = (value: unknown) => typeof value === 'string';
const isTexts = (value: unknown) => Array.isArray(value) && value.every(isText);
const padded = ({ input_ids, attention_mask }: Padded): Outputs => ({
  ids: integers(input_ids),
  attention_mask: integers(attention_mask),
});

const tokenizer = family(async ({ checkpoint }) => AutoTokenizer.from_pretrained(await checkpoint()), {
  text: method({
    args: { text: isText },
    run(tokenize: Tokenizer, _, args) {
      const text = args.text as string;
      const ids = tokenize.encode(text);
      return {
        ids: integers(ids),
        ids_without_special: integers(tokenize.encode(text, { add_special_tokens: false })),
        tokens: tokenize.tokenize(text),
        decoded: tokenize.decode(ids),
        decoded_without_special: tokenize.decode(ids, { skip_special_tokens: true }),
      };
    },
  }),
  longest: method({
    args: { texts: isTexts },
    run: (tokenize: Tokenizer, _, { texts }) => padded(tokenize(texts as string[], { padding: 'longest' })),
  }),
  max_length: method({
    args: { texts: isTexts, length: Number.isInteger },
    run(tokenize: Tokenizer, _, { texts, length }) {
      const max_length = length as number;
      return padded(tokenize(texts as string[], { padding: 'max_length', truncation: true, max_length }));
    },
  }),
});

export const tokenizers: Record<string, Family> = {
  CLIPTokenizer: tokenizer,
  TokenizersBackend: tokenizer,
};
