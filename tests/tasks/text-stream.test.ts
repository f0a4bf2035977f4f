// Text as it comes: the pieces are the whole, and none has half a character or the beginning of a stop string.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AutoTokenizer, TextStreamer } from '../../src/index.ts';
import { Detokenizer, StopStrings } from '../../src/tasks/text-stream.ts';
import { golden } from './support.ts';

const TOKENIZERS = ['tokenizer-llama', 'tokenizer-llama-metaspace', 'tokenizer-clip'];

describe.each(TOKENIZERS)('%s', (name) => {
  const cases = JSON.parse(readFileSync(`${golden(name)}/cases.json`, 'utf8')).cases as {
    text: string;
    ids: number[];
  }[];

  it('gives the text of all tokens in pieces of whole characters', async () => {
    const tokenizer = await AutoTokenizer.from_pretrained(golden(name));
    for (const skip_special_tokens of [true, false]) {
      const decode = (ids: readonly number[]) => tokenizer.decode([...ids], { skip_special_tokens });
      const long = cases.flatMap(({ ids }) => ids); // all texts as one
      for (const ids of [...cases.map((one) => one.ids), long]) {
        const text = new Detokenizer(decode);
        const pieces = ids.map((id) => text.push(id));
        for (const piece of pieces) expect(piece).not.toMatch(/\ufffd$|\p{Surrogate}/u);
        expect(pieces.join('') + text.end()).toBe(decode(ids));
      }
    }
  });
});

it('holds a character back until its last byte', async () => {
  const tokenizer = await AutoTokenizer.from_pretrained(golden('tokenizer-llama'));
  const bytes = [0xf0, 0x9f, 0x99, 0x82].map(
    (byte) => tokenizer.token_to_id(`<0x${byte.toString(16).toUpperCase()}>`)!,
  );
  const decode = (ids: readonly number[]) => tokenizer.decode([...ids]);
  const whole = new Detokenizer(decode);
  expect(bytes.map((id) => whole.push(id))).toEqual(['', '', '', '🙂']);
  const half = new Detokenizer(decode);
  expect(bytes.slice(0, 2).map((id) => half.push(id))).toEqual(['', '']);
  expect(half.end()).toBe('\ufffd\ufffd'); // as it is for the tokenizer
});

describe('stop strings', () => {
  /** What comes of a text in pieces of given lengths. */
  function cut(text: string, lengths: readonly number[], stops: readonly string[]): string[] {
    const watch = new StopStrings(stops);
    const pieces: string[] = [];
    for (let at = 0, k = 0; at < text.length && !watch.isOver; at += lengths[k++ % lengths.length]!) {
      pieces.push(watch.push(text.slice(at, at + lengths[k % lengths.length]!)));
    }
    return watch.isOver ? pieces : [...pieces, watch.end()];
  }
  it('end the text, across any border', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
    const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 });
    const check = (text: string, stops: string[], lengths: number[]) => {
      const at = stops.map((s) => text.indexOf(s)).filter((i) => i >= 0);
      // what comes first ends it; of those that end in one piece, the one that begins first
      const got = cut(text, lengths, stops).join('');
      if (at.length === 0) expect(got).toBe(text);
      else {
        expect(text.startsWith(got)).toBe(true);
        for (const s of stops) expect(got).not.toContain(s);
        expect(at).toContain(at.find((i) => i === got.length) ?? -1);
      }
    };
    fc.assert(
      fc.property(
        letters,
        fc.array(stop, { minLength: 1, maxLength: 1 }),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 }),
        check,
      ),
      { seed: 1 },
    );
  });
  it('hold back no more than may begin one', () => {
    const watch = new StopStrings(['</s>', 'END']);
    expect([watch.push('abc<'), watch.push('/'), watch.push('b E'), watch.push('N'), watch.push('d')]).toEqual([
      'abc',
      '',
      '</b ',
      '',
      'ENd',
    ]);
    expect([watch.push('x</s'), watch.push('> more'), watch.isOver]).toEqual(['x', '', true]);
  });
  it('without any all is given at once', () => {
    expect(new StopStrings(['']).push('abc')).toBe('abc');
  });
});

it('TextStreamer gives what is generated', async () => {
  const tokenizer = await AutoTokenizer.from_pretrained(golden('tokenizer-llama'));
  const ids = tokenizer.encode('hello there', { add_special_tokens: false });
  const pieces: string[] = [];
  const streamer = new TextStreamer(tokenizer, { skip_prompt: true, callback_function: (text) => pieces.push(text) });
  streamer.put([tokenizer.encode('a prompt')]);
  for (const id of ids) streamer.put([[id]]);
  streamer.end();
  expect(pieces.length).toBeGreaterThan(1);
  expect(pieces.join('')).toBe('hello there');
  expect(() => streamer.put([[1], [2]])).toThrow('got 2 rows, want one');
});
