// Tokenizers against transformers (golden tokenizer-clip) and the Rust library (fixtures/tokenizers.json).
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { charsmap } from '../../src/io/charsmap.ts';
import { memoryFolder } from '../../src/io/source.ts';
import { type BatchOptions, createTokenizer, loadTokenizer } from '../../src/io/tokenizer.ts';
import { fixturePath, goldenPath, readJson, valueOrMessage } from './support.ts';

type Case = {
  text: string;
  ids: number[];
  ids_without_special: number[];
  tokens: string[];
  decoded: string;
  decoded_without_special: string;
};
type Batch = { texts: string[]; ids: number[][]; attention_mask: number[][] };
const clipJson = readJson(goldenPath('tokenizer-clip/tokenizer.json'));
const clipConfig = readJson(goldenPath('tokenizer-clip/tokenizer_config.json'));
const { cases, batch } = readJson(goldenPath('tokenizer-clip/cases.json')) as {
  cases: Case[];
  batch: Record<string, Batch>;
};
const fixtures = readJson(fixturePath('tokenizers.json'));
const clip = createTokenizer(clipJson, clipConfig);

/** The same tokenizer as two older files. */
const older = {
  'vocab.json': JSON.stringify(clipJson.model.vocab),
  'merges.txt': `#version: 0.2\n${clipJson.model.merges.map((pair: string | string[]) => (typeof pair === 'string' ? pair : pair.join(' '))).join('\n')}\n`,
  'tokenizer_config.json': JSON.stringify({ ...clipConfig, bos_token: { content: '<|startoftext|>', lstrip: false } }),
};
const load = (files: Record<string, string>) => loadTokenizer(memoryFolder(Object.entries(files), 'tokenizer'));

describe.each([
  [
    'tokenizer.json',
    () => load({ 'tokenizer.json': JSON.stringify(clipJson), 'tokenizer_config.json': JSON.stringify(clipConfig) }),
  ],
  ['vocab.json and merges.txt', () => load(older)],
])('tokenizer-clip from %s', (_, make) => {
  test.each(cases.map((c) => [JSON.stringify(c.text), c] as const))('%s', async (_text, c) => {
    const tokenizer = await make();
    expect(tokenizer.encode(c.text)).toEqual(c.ids);
    expect(tokenizer.encode(c.text, { add_special_tokens: false })).toEqual(c.ids_without_special);
    expect(tokenizer.tokenize(c.text)).toEqual(c.tokens);
    expect(tokenizer.decode(c.ids)).toBe(c.decoded);
    expect(tokenizer.decode(c.ids, { skip_special_tokens: true })).toBe(c.decoded_without_special);
  });

  test.each<[string, BatchOptions]>([
    ['longest', { padding: true }],
    ['max_length_6', { padding: 'max_length', truncation: true, max_length: 6 }],
  ])('batch: %s', async (name, options) => {
    const { texts, ids, attention_mask } = batch[name]!;
    expect((await make())(texts, options)).toEqual({ input_ids: ids, attention_mask });
  });
});

describe('where @huggingface/tokenizers alone differs from the Rust library', () => {
  test.each(fixtures.clip as [string, number[]][])('white space: %j', (text, ids) =>
    expect(clip.encode(text)).toEqual(ids),
  );

  const fallback = createTokenizer(fixtures.fallback.json);
  test.each(fixtures.fallback.decode as [number[], string, string][])(
    'bytes that are no character: %j',
    (ids, text, without) => {
      expect(fallback.decode(ids)).toBe(text);
      expect(fallback.decode(ids, { skip_special_tokens: true })).toBe(without);
    },
  );
  test.each(fixtures.fallback.encode as [string, number[]][])('byte fallback: %j', (text, ids) =>
    expect(fallback.encode(text)).toEqual(ids),
  );

  const normalize = charsmap(fixtures.charsmap.base64);
  test.each(fixtures.charsmap.cases as [string, string][])('charsmap: %j', (text, want) =>
    expect(normalize(text)).toBe(want),
  );
  const unigram = createTokenizer(fixtures.unigram.json);
  test.each(fixtures.unigram.encode as [string, number[]][])('unigram: %j', (text, ids) =>
    expect(unigram.encode(text)).toEqual(ids),
  );
  test('unknown words are the unknown token', () => expect(unigram.tokenize('x fi')).toEqual(['▁', '<unk>', '▁fi']));
});

describe('batches', () => {
  const text = cases.find((c) => c.ids.length > 8)!;
  const [first, ...rest] = text.ids;
  const last = rest.pop()!;

  test('truncation keeps the special tokens, on either side', () => {
    expect(clip(text.text, { truncation: true, max_length: 5 })).toEqual({
      input_ids: [[first, ...rest.slice(0, 3), last]],
      attention_mask: [[1, 1, 1, 1, 1]],
    });
    const left = createTokenizer(clipJson, { ...clipConfig, truncation_side: 'left' });
    expect(left(text.text, { truncation: true, max_length: 5 }).input_ids).toEqual([[first, ...rest.slice(-3), last]]);
    expect(left(text.text, { truncation: true, max_length: 2 }).input_ids).toEqual([[first, last]]);
    expect(clip(text.text, { truncation: true, max_length: 3, add_special_tokens: false }).input_ids).toEqual([
      rest.slice(0, 3),
    ]);
    expect(clip(text.text, { max_length: 3 }).input_ids).toEqual([text.ids]);
    expect(() => clip(text.text, { truncation: true, max_length: 1 })).toThrow(
      '[tokenizer] max_length: got 1, want room for the special tokens',
    );
  });

  test("without a length, the model's", () => {
    const long = clip('word '.repeat(200), { truncation: true, padding: 'max_length' });
    expect([clip.model_max_length, long.input_ids[0]!.length, long.input_ids[0]!.at(-1)]).toEqual([
      77,
      77,
      clip.eos_token_id,
    ]);
    const free = createTokenizer(clipJson, { ...clipConfig, model_max_length: 1e30 });
    expect([free.model_max_length, free('word '.repeat(200), { truncation: true }).input_ids[0]!.length > 200]).toEqual(
      [Infinity, true],
    );
    expect(() => free('a', { padding: 'max_length' })).toThrow('[tokenizer] max_length: got none, want an integer > 0');
    expect(() => free('a', { truncation: true, max_length: 0 })).toThrow('max_length: got 0');
  });

  test('padding on the side that the config or the call says', () => {
    const left = createTokenizer(clipJson, { ...clipConfig, padding_side: 'left' });
    const [a, b] = [clip.encode('a dog'), clip.encode('')];
    const pad = clip.pad_token_id!;
    expect(left(['a dog', ''], { padding: true })).toEqual({
      input_ids: [a, [pad, pad, ...b]],
      attention_mask: [
        [1, 1, 1, 1],
        [0, 0, 1, 1],
      ],
    });
    expect(left(['a dog', ''], { padding: 'longest', padding_side: 'right' }).input_ids).toEqual([a, [...b, pad, pad]]);
    expect(clip(['a dog', '']).input_ids).toEqual([a, b]);
    expect(clip([], { padding: true })).toEqual({ input_ids: [], attention_mask: [] });
    const without = createTokenizer(clipJson, { ...clipConfig, pad_token: null });
    expect(without(['a dog', 'a dog'], { padding: true }).input_ids).toEqual([a, a]);
    expect(() => without(['a dog', ''], { padding: true })).toThrow(
      '[tokenizer] padding: this tokenizer has no pad token',
    );
  });
});

test('ids of the special tokens, tokens by id, ids that are not there', () => {
  expect([clip.bos_token_id, clip.eos_token_id, clip.pad_token_id, clip.unk_token_id]).toEqual([640, 641, 641, 641]);
  expect([clip.padding_side, clip.config.tokenizer_class]).toEqual(['right', 'CLIPTokenizer']);
  expect([clip.token_to_id('a</w>'), clip.id_to_token(320), clip.token_to_id('nope'), clip.id_to_token(1e6)]).toEqual([
    320,
    'a</w>',
    undefined,
    undefined,
  ]);
  expect([clip.decode([]), clip.decode([1e6, -1, 320, 0.5]), clip.decode([320n, 531n])]).toEqual(['', 'a ', 'a dog ']);
  expect(() => clip.encode(5 as unknown as string)).toThrow('[tokenizer] got 5, want a text');
});

test('clean_up_tokenization_spaces', () => {
  const ids = clip.encode('hello , dog', { add_special_tokens: false });
  expect([clip.decode(ids), clip.decode(ids, { clean_up_tokenization_spaces: true })]).toEqual([
    'hello , dog ',
    'hello, dog ',
  ]);
});

describe('files that are no tokenizer', () => {
  const refused: [string, Record<string, string>, string][] = [
    [
      'nothing',
      {},
      '[tokenizer] no tokenizer: got none of these files, want tokenizer.json, or vocab.json and merges.txt',
    ],
    ['only sentencepiece', { 'tokenizer.model': 'x' }, 'got only tokenizer.model (sentencepiece)'],
    ['bad JSON', { 'tokenizer.json': '{"model": ' }, '[tokenizer.json] not valid JSON at line 1, column 11'],
    [
      'another JSON',
      { 'tokenizer.json': '{"model_type": "clip"}' },
      '[tokenizer.json] not a tokenizer that can be read',
    ],
    ['an unknown step', { 'tokenizer.json': JSON.stringify({ ...clipJson, normalizer: { type: 'Rot13' } }) }, 'Rot13'],
    [
      'no special token in the vocabulary',
      {
        'tokenizer.json': JSON.stringify({
          ...clipJson,
          post_processor: { type: 'RobertaProcessing', cls: ['<cls>', 1], sep: ['<sep>', 2] },
        }),
      },
      'the special token "<cls>" is not in the vocabulary',
    ],
    [
      'an unknown class',
      { ...older, 'tokenizer_config.json': '{"tokenizer_class": "BertTokenizer"}' },
      'tokenizer_class "BertTokenizer" without tokenizer.json is not known: want one of CLIPTokenizer, GPT2Tokenizer, RobertaTokenizer',
    ],
    ['bad merges', { ...older, 'merges.txt': 'a b c' }, '[merges.txt] bad line "a b c": want two tokens'],
    [
      'a vocabulary without its special tokens',
      { ...older, 'vocab.json': '{"a": 0}' },
      '[vocab.json] the bos_token "<|startoftext|>" is not in the vocabulary',
    ],
    [
      'a damaged charsmap',
      {
        'tokenizer.json': JSON.stringify(fixtures.unigram.json).replaceAll(
          fixtures.charsmap.base64,
          fixtures.charsmap.base64.slice(0, 800),
        ),
      },
      'damaged precompiled_charsmap',
    ],
  ];
  test.each(refused)('%s', async (_, files, want) => {
    expect((await valueOrMessage(() => load(files))).message).toContain(want);
  });

  test('older files of GPT-2 and RoBERTa', async () => {
    const letters = [...'abĠ'].map((c, i) => [c, i] as const);
    const gpt2 = await load({
      'vocab.json': JSON.stringify({ ...Object.fromEntries(letters), Ġa: 3, '<|endoftext|>': 4 }),
      'merges.txt': 'Ġ a',
      'tokenizer_config.json': '{"tokenizer_class": "GPT2Tokenizer"}',
    });
    expect([gpt2.encode('ab a<|endoftext|>'), gpt2.decode([0, 1, 3])]).toEqual([[0, 1, 3, 4], 'ab a']);
    const roberta = await load({
      'vocab.json': JSON.stringify({ '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3, a: 4, Ġ: 5, Ġa: 6, '<mask>': 7 }),
      'merges.txt': '#version: 0.2\nĠ a\n',
      'tokenizer_config.json': '{"tokenizer_class": "RobertaTokenizerFast"}',
    });
    expect(roberta.encode('a a <mask>a')).toEqual([0, 4, 6, 7, 4, 2]);
  });
});

describe('fuzzing', () => {
  const words = fc.constantFrom(
    'a',
    ' ',
    '\n',
    'hello',
    "'s",
    '<|endoftext|>',
    'É',
    'e\u0301',
    '漢',
    '🤖',
    '\u200d',
    '\u0000',
    '\ud83e',
    'ﬁ',
    '1',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(words).map((parts) => parts.join('')),
  );
  const ids = fc.array(fc.integer({ min: -2, max: 700 }));

  test('any text, any ids', () => {
    const all = [clip, createTokenizer(fixtures.fallback.json), createTokenizer(fixtures.unigram.json)];
    fc.assert(
      fc.property(fc.constantFrom(...all), text, ids, (tokenizer, input, some) => {
        const got = tokenizer.encode(input);
        expect(got.every((id) => tokenizer.id_to_token(id) !== undefined)).toBe(true);
        expect(typeof tokenizer.decode(got)).toBe('string');
        expect(typeof tokenizer.decode(some, { skip_special_tokens: true })).toBe('string');
      }),
      { numRuns: 300 },
    );
  });

  test('tokenizer files with changed parts: a tokenizer or a UserError', async () => {
    const files = [clipJson, fixtures.fallback.json, fixtures.unigram.json];
    const key = fc.constantFrom('added_tokens', 'normalizer', 'pre_tokenizer', 'post_processor', 'decoder', 'model');
    const inner = fc.constantFrom(
      'type',
      'vocab',
      'merges',
      'normalizers',
      'single',
      'unk_token',
      'unk_id',
      'decoders',
      'cls',
      'pattern',
    );
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom(
        null,
        [],
        {},
        { type: 'ByteLevel' },
        { type: 'Sequence' },
        { type: 'BPE', vocab: {}, merges: [] },
      ),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        key,
        inner,
        value,
        fc.boolean(),
        async (file, outer, name, changed, deep) => {
          const json = { ...file, [outer]: deep ? { ...file[outer], [name]: changed } : changed };
          await valueOrMessage(() => {
            const tokenizer = createTokenizer(json, clipConfig);
            tokenizer.decode(tokenizer.encode('a photo é 🤖'));
            tokenizer(['a', 'b c'], { padding: 'max_length', max_length: 9, truncation: true });
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  test('damaged charsmaps', async () => {
    const good = Uint8Array.from(atob(fixtures.charsmap.base64), (c) => c.charCodeAt(0));
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(edits, fc.string({ unit: 'grapheme' }), async (changes, input) => {
        const bytes = good.slice();
        for (const [at, value] of changes) bytes[at] = value;
        await valueOrMessage(() => charsmap(btoa(String.fromCharCode(...bytes)))(`ﬁ é 가${input}`));
      }),
      { numRuns: 300 },
    );
  });
});
