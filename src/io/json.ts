// JSON whose errors name the line and column in every runtime, and a strict reader that sees what JSON.parse hides.
import { UserError } from './error.ts';

export type Json = null | boolean | number | string | Json[] | Map<string, Json>;

/** Deeper than any real file; keeps hostile nesting from overflowing the stack. */
const MAX_DEPTH = 128;
const SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const COUNT = /(?:0|[1-9]\d*)(?![\d.eE])/y;
const WORD = /true|false|null/y;

/** JSON text as a value. Throws a UserError that starts with `[where]` and has the line and column. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    parse(text, where, { repeats: true, number: NUMBER });
    throw new UserError(`[${where}] not valid JSON`);
  }
}

/** `parseJson` that wants an object, as every config file is one. */
export function parseObject(text: string, where: string): Record<string, unknown> {
  const value = parseJson(text, where);
  if (!isObject(value)) throw new UserError(`[${where}] got ${kind(value)}, want a JSON object {...}`);
  return value;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kind(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/**
 * The JSON of a safetensors header, with objects as Maps (so that `__proto__` is a name like any other). Refuses a key
 * that appears twice, however it is escaped, numbers that are not counts, and half surrogate pairs.
 */
export function parseHeader(text: string, where: string): Json {
  return parse(text, where, { repeats: false, number: COUNT });
}

function parse(text: string, where: string, rules: { repeats: boolean; number: RegExp }): Json {
  let at = 0;

  const fail = (want: string): never => {
    const before = text.slice(0, at).split('\n');
    const got = at < text.length ? JSON.stringify(text.slice(at, at + 12)) : 'the end of the text';
    const place = `line ${before.length}, column ${before.at(-1)!.length + 1}`;
    throw new UserError(`[${where}] not valid JSON at ${place}: got ${got}, want ${want}`);
  };
  const space = () => {
    while (SPACE.has(text.charCodeAt(at))) at++;
  };
  const next = (mark: string): boolean => {
    space();
    if (text[at] !== mark) return false;
    at++;
    return true;
  };
  const token = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };

  const string = (): string => {
    let end = at;
    let escaped: boolean;
    do {
      end = text.indexOf('"', end + 1);
      if (end < 0) return fail('a string that ends');
      let first = end;
      while (text[first - 1] === '\\') first--;
      escaped = (end - first) % 2 === 1;
    } while (escaped);
    let value: string;
    try {
      value = JSON.parse(text.slice(at, end + 1)) as string;
    } catch {
      return fail('a string without control characters or unknown escapes');
    }
    if (/\p{Surrogate}/u.test(value)) return fail('a string without half a surrogate pair');
    at = end + 1;
    return value;
  };

  const object = (depth: number): Json => {
    const entries = new Map<string, Json>();
    if (next('}')) return entries;
    do {
      space();
      if (text[at] !== '"') return fail('a key in double quotes');
      const start = at;
      const key = string();
      if (!rules.repeats && entries.has(key)) {
        at = start;
        return fail(`each key once, but ${JSON.stringify(key)} was there before`);
      }
      if (!next(':')) return fail("':'");
      entries.set(key, value(depth));
    } while (next(','));
    return next('}') ? entries : fail("',' or '}'");
  };

  const array = (depth: number): Json => {
    const items: Json[] = [];
    if (next(']')) return items;
    do items.push(value(depth));
    while (next(','));
    return next(']') ? items : fail("',' or ']'");
  };

  const value = (depth: number): Json => {
    if (depth > MAX_DEPTH) return fail(`at most ${MAX_DEPTH} levels of nesting`);
    if (next('{')) return object(depth + 1);
    if (next('[')) return array(depth + 1);
    if (text[at] === '"') return string();
    const word = token(WORD);
    if (word !== undefined) return word === 'null' ? null : word === 'true';
    const number = token(rules.number);
    return number !== undefined ? Number(number) : fail('a value');
  };

  const result = value(0);
  space();
  return at === text.length ? result : fail('the end of the text');
}
