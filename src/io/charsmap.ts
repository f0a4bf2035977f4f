// The `Precompiled` normalizer of T5 and other sentencepiece tokenizers: a table from graphemes to texts, as a double-array trie
// (https://github.com/s-yata/darts-clone) and the texts. Same search as in https://github.com/huggingface/spm_precompiled.
import { UserError } from './error.ts';

/** The normalizer for a `precompiled_charsmap` (base64). */
export function charsmap(base64: string): (text: string) => string {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const size = bytes.length >= 4 ? view.getUint32(0, true) : Infinity;
  if (size % 4 !== 0 || 4 + size > bytes.length) {
    throw new UserError(
      `[tokenizer.json] damaged precompiled_charsmap: got ${bytes.length} bytes. Get the file again.`,
    );
  }
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const texts = bytes.subarray(4 + size);
  const known = new Map<string, string>();
  const segments = new Intl.Segmenter('en', { granularity: 'grapheme' });

  const lookUp = (part: string): string | undefined => {
    const begin = shortestPrefix(units, new TextEncoder().encode(part));
    if (begin === undefined) return undefined;
    const end = texts.indexOf(0, begin);
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(texts.subarray(begin, end < 0 ? texts.length : end));
  };
  // A short grapheme is looked up as a whole, then each of its characters.
  const change = (grapheme: string): string => {
    const whole = new TextEncoder().encode(grapheme).length < 6 ? lookUp(grapheme) : undefined;
    return whole ?? Array.from(grapheme, (character) => lookUp(character) ?? character).join('');
  };
  return (text) => {
    let result = '';
    for (const { segment } of segments.segment(text)) {
      let changed = known.get(segment);
      if (changed === undefined) known.set(segment, (changed = change(segment)));
      result += changed;
    }
    return result;
  };
}

/** Value of the shortest key that `key` begins with. */
function shortestPrefix(units: Uint32Array, key: Uint8Array): number | undefined {
  let at = offset(units[0] ?? 0);
  for (const byte of key) {
    if (byte === 0) return undefined;
    at ^= byte;
    const unit = units[at];
    if (unit === undefined || (unit & 0x800000ff) !== byte) return undefined;
    at ^= offset(unit);
    if (unit & 0x100) return (units[at] ?? 0) & 0x7fffffff;
  }
  return undefined;
}

/** Distance to a node's children. */
const offset = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
