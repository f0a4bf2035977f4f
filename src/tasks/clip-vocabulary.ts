// CLIP's tokenizer from vocab.json and merges.txt, as transformers' CLIPTokenizer turns them into a tokenizer.json.
import { UserError } from '../io/error.ts';

const START = '<|startoftext|>';
const END = '<|endoftext|>';
const WORDS = `${START}|${END}|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+`.replaceAll('<|', '<\\|').replaceAll('|>', '\\|>');

/** The tokenizer.json of a vocabulary (token -> id) and the lines of its merges. */
export function clipTokenizer(vocab: Record<string, unknown>, merges: string): object {
  const special = (content: string) => {
    const id = vocab[content];
    if (typeof id !== 'number') throw new UserError(`[vocab.json] no token ${content}: want a CLIP vocabulary`);
    return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  };
  const [start, end] = [special(START), special(END)];
  return {
    version: '1.0',
    added_tokens: [start, end],
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
        { type: 'Split', pattern: { Regex: WORDS }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [END, end.id],
      cls: [START, start.id],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      unk_token: END,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges: merges.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#version')),
    },
  };
}
