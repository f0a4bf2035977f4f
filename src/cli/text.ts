// Text as a terminal shows it: what would act on the terminal is made visible, and columns are counted.

/** Control characters, line separators, and what turns the direction of the text behind it. */
const ACTING = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** Text from outside (labels, names in files) with an escape in place of each character that would act: `\x1b`. */
export function visible(text: string): string {
  return text.replace(ACTING, (character) => {
    const code = character.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, '0')}`;
  });
}

/** The same for a text of many lines, which keeps its lines and tabs. */
export const visibleLines = (text: string): string => text.replace(/[^\n\t]+/g, visible);

const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' });
/** Wide and Fullwidth of https://www.unicode.org/reports/tr11 (less Khitan), and emoji; halfwidth forms are none. */
const WIDE =
  /^(?![\uff61-\uffdc])[\p{Emoji_Presentation}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}\p{Script=Yi}\p{Script=Tangut}\p{Script=Nushu}\u1100-\u115f\u2e80-\u303e\u3040-\u33ff\ua960-\ua97c\uac00-\ud7a3\ufe10-\ufe19\ufe30-\ufe6b\uff01-\uff60\uffe0-\uffe6]|\ufe0f/u;
const EMPTY = /^[\p{Mark}\p{Default_Ignorable_Code_Point}]+$/u;

/** How many columns a text takes. */
export function columns(text: string): number {
  let count = 0;
  for (const { segment } of GRAPHEMES.segment(text)) count += WIDE.test(segment) ? 2 : EMPTY.test(segment) ? 0 : 1;
  return count;
}

/** Columns of the widest text. */
export const widest = (texts: readonly string[]): number =>
  texts.reduce((most, text) => Math.max(most, columns(text)), 0);

/** `padEnd` by columns. */
export const pad = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - columns(text)));

/** A text of at most `width` columns; a longer one ends in `…`. */
export function shorten(text: string, width: number): string {
  const start = text.slice(0, 16 * width);
  if (start === text && columns(text) <= width) return text;
  let kept = '';
  let left = width - 1;
  for (const { segment } of GRAPHEMES.segment(start)) {
    left -= columns(segment);
    if (left < 0) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** Lines of at most `width` columns, broken between words; a longer word has a line of its own. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && columns(last) + 1 + columns(word) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Several lines as one: a list goes on behind its colon, and its parts get semicolons. */
export const oneLine = (text: string): string =>
  text.trim().replace(/([.,:;]?)\s*\n\s*(\(?)/g, (_, end, bracket) => (end || bracket ? `${end} ${bracket}` : '; '));

/** Text inside of an element of SVG; control characters, which XML has no form for, as `visible` shows them. */
export const xml = (text: string): string => visible(text).replace(/[<&]/g, (c) => `&#${c.charCodeAt(0)};`);
