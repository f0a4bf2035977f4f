// The older pair vocab.json + merges.txt, seen as a tokenizer.json: what the class named in tokenizer_config.json adds to it.
import { UserError } from './error.ts';
import { isObject } from './json.ts';

type Config = Record<string, unknown>;
type Class = {
  /** Special tokens by their key in the config, with the token that the class has by default. */
  tokens: Record<string, string>;
  steps(token: (key: string) => [string, number]): Config;
};

const byteLevel = (add_prefix_space: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space,
  trim_offsets: true,
  use_regex: true,
});
const around = ([cls, sep]: [string, number][]) => ({
  type: 'RobertaProcessing',
  cls,
  sep,
  trim_offsets: true,
  add_prefix_space: false,
});

const CLASSES: Record<string, Class> = {
  CLIPTokenizer: {
    tokens: {
      bos_token: '<|startoftext|>',
      eos_token: '<|endoftext|>',
      unk_token: '<|endoftext|>',
      pad_token: '<|endoftext|>',
    },
    steps: (token) => ({
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'NFC' },
          { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
          { type: 'Lowercase' },
        ],
      },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          {
            type: 'Split',
            pattern: { Regex: "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
            behavior: 'Removed',
            invert: true,
          },
          byteLevel(false),
        ],
      },
      post_processor: around([token('bos_token'), token('eos_token')]),
      model: { end_of_word_suffix: '</w>', unk_token: token('unk_token')[0] },
    }),
  },
  GPT2Tokenizer: {
    tokens: { bos_token: '<|endoftext|>', eos_token: '<|endoftext|>', unk_token: '<|endoftext|>' },
    steps: () => ({ normalizer: null, pre_tokenizer: byteLevel(false), post_processor: null, model: {} }),
  },
  RobertaTokenizer: {
    tokens: {
      bos_token: '<s>',
      pad_token: '<pad>',
      eos_token: '</s>',
      unk_token: '<unk>',
      mask_token: '<mask>',
      cls_token: '<s>',
      sep_token: '</s>',
    },
    steps: (token) => ({
      normalizer: null,
      pre_tokenizer: byteLevel(false),
      post_processor: around([token('cls_token'), token('sep_token')]),
      model: {},
    }),
  },
};

/** A tokenizer.json for `vocab` (token -> id) and the text of merges.txt. */
export function fromVocabAndMerges(vocab: Config, merges: string, config: Config): Config {
  const given = config.tokenizer_class;
  const name = typeof given === 'string' ? given.replace(/Fast$/, '') : '';
  const kind = Object.hasOwn(CLASSES, name) ? CLASSES[name]! : undefined;
  if (!kind) {
    throw new UserError(
      `[tokenizer_config.json] tokenizer_class ${JSON.stringify(config.tokenizer_class)} without tokenizer.json is not known: ` +
        `want one of ${Object.keys(CLASSES).join(', ')}, or tokenizer.json`,
    );
  }
  const content = (key: string): string => {
    const given = isObject(config[key]) ? config[key].content : config[key];
    return typeof given === 'string' ? given : kind.tokens[key]!;
  };
  const token = (key: string): [string, number] => {
    const id = vocab[content(key)];
    if (typeof id !== 'number')
      throw new UserError(`[vocab.json] the ${key} ${JSON.stringify(content(key))} is not in the vocabulary`);
    return [content(key), id];
  };
  const special = new Map(
    Object.keys(kind.tokens)
      .map((key) => [...token(key), key === 'mask_token'] as const)
      .map((all) => [all[0], all]),
  );
  const steps = kind.steps(token);
  return {
    added_tokens: [...special.values()].map(([text, id, lstrip]) => ({
      id,
      content: text,
      lstrip,
      special: true,
      normalized: false,
    })),
    ...steps,
    decoder: byteLevel(true),
    model: { type: 'BPE', vocab, merges: mergesOf(merges), ...(steps.model as Config) },
  };
}

/** Lines of two tokens; the first may name the version. */
function mergesOf(text: string): [string, string][] {
  const lines = text.split(/\r?\n/).filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#version')));
  return lines.map((line) => {
    const [left, right, ...more] = line.split(' ');
    if (!left || !right || more.length > 0)
      throw new UserError(`[merges.txt] bad line ${JSON.stringify(line)}: want two tokens`);
    return [left, right];
  });
}
