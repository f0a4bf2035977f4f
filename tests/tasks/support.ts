// A small CLIP or SigLIP folder in memory: a golden's weights, a tokenizer of letters, a processor.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Folder, memoryFolder } from '../../src/io/source.ts';

export const golden = (name: string) => fileURLToPath(new URL(`../goldens/cases/${name}`, import.meta.url));
const read = (name: string) => new Uint8Array(readFileSync(golden(name)));

export const START = 96;
export const END = 95;

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
/** One token for each letter, and one for each that ends a word. */
const vocab = Object.fromEntries(
  [...LETTERS].flatMap((c, i) => [
    [c, 3 + i],
    [`${c}</w>`, 29 + i],
  ]),
);

/** A tokenizer.json whose ids fit the golden models; `start` and `end` go around a text. */
export function letterTokenizer(start: number | undefined, end: number): string {
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const added = [
    ...(start === undefined ? [] : [{ id: start, content: '<start>', ...special }]),
    { id: end, content: '<end>', ...special },
  ];
  const around = (name: string) => ({ SpecialToken: { id: name, type_id: 0 } });
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: 'Split', pattern: { Regex: '[a-z]+' }, behavior: 'Removed', invert: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        ...(start === undefined ? [] : [around('<start>')]),
        { Sequence: { id: 'A', type_id: 0 } },
        around('<end>'),
      ],
      pair: [],
      special_tokens: Object.fromEntries(
        added.map(({ id, content }) => [content, { id: content, ids: [id], tokens: [content] }]),
      ),
    },
    decoder: null,
    model: {
      type: 'BPE',
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      vocab: { ...vocab, ...Object.fromEntries(added.map(({ id, content }) => [content, id])) },
      merges: [],
    },
  });
}

/** The golden `clip` or `siglip` with everything that a task needs; `more` adds or replaces files. */
export function tinyFolder(family: 'clip' | 'siglip', more: Record<string, string | Uint8Array> = {}): Folder {
  const isClip = family === 'clip';
  const size = isClip ? 30 : 24;
  const processor = isClip
    ? {
        image_processor_type: 'CLIPImageProcessor',
        size: { shortest_edge: size },
        crop_size: { height: size, width: size },
      }
    : { image_processor_type: 'SiglipImageProcessor', size: { height: size, width: size } };
  const words = isClip
    ? { tokenizer_class: 'CLIPTokenizer', pad_token: '<end>', eos_token: '<end>' }
    : { tokenizer_class: 'SiglipTokenizer', pad_token: '<end>', eos_token: '<end>' };
  const files: Record<string, string | Uint8Array> = {
    'config.json': read(`${family}/config.json`),
    'model.safetensors': read(`${family}/model.safetensors`),
    'tokenizer.json': isClip ? letterTokenizer(END, START) : letterTokenizer(undefined, 1),
    'tokenizer_config.json': JSON.stringify(words),
    'preprocessor_config.json': JSON.stringify(processor),
    ...more,
  };
  return memoryFolder(Object.entries(files), `tiny-${family}`);
}

/** The weights of a family with another number at the start of one tensor. */
export function withNumber(family: 'clip' | 'siglip', tensor: string, value: number): Uint8Array {
  const bytes = read(`${family}/model.safetensors`);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  view.setFloat32(8 + length + header[tensor].data_offsets[0], value, true);
  return bytes;
}

export const pictures = ['landscape', 'portrait', 'rgba', 'tiny'].map((name) => golden(`clip-processor/${name}.png`));

const CHARACTERS = Array.from({ length: 94 }, (_, i) => String.fromCharCode(32 + i));
const TEMPLATE =
  "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}" +
  '[{{ m.role }}]{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}';

/** A LLaMA golden with a tokenizer of characters and a chat template. */
export function chatFolder(name = 'llama', more: Record<string, unknown> = { chat_template: TEMPLATE }): Folder {
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const specials = ['<unk>', '<s>', '</s>'];
  const vocab = Object.fromEntries([...specials, ...CHARACTERS].map((token, id) => [token, id]));
  const tokenizer = {
    version: '1.0',
    added_tokens: specials.map((content, id) => ({ id, content, ...special })),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'Fuse' },
    model: { type: 'BPE', unk_token: '<unk>', fuse_unk: false, byte_fallback: false, vocab, merges: [] },
  };
  const files = ['config.json', 'generation_config.json', 'model.safetensors'].map(
    (file) => [file, read(`${name}/${file}`)] as const,
  );
  return memoryFolder(
    [
      ...files,
      ['tokenizer.json', JSON.stringify(tokenizer)],
      ['tokenizer_config.json', JSON.stringify({ bos_token: '<s>', eos_token: '</s>', ...more })],
    ],
    name,
  );
}

/** The golden `llava` with a chat template, as the hub's LLaVA 1.5 has it; `more` adds or replaces files. */
export function llavaFolder(more: Record<string, string | Uint8Array> = {}): Folder {
  const part = (type: string, text: string) =>
    `{% for part in message.content | selectattr('type', 'equalto', '${type}') %}{{ ${text} }}{% endfor %}`;
  const template =
    `{% for message in messages %}{{ message.role.upper() }}: ${part('image', "'<image>\\n'")}${part('text', "part.text + ' '")}` +
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";
  const names = ['config', 'generation_config', 'processor_config', 'tokenizer', 'tokenizer_config'];
  const files = [...names.map((name) => `${name}.json`), 'model.safetensors'];
  return memoryFolder(
    Object.entries({
      ...Object.fromEntries(files.map((file) => [file, read(`llava/${file}`)])),
      'chat_template.jinja': template,
      ...more,
    }),
    'llava',
  );
}
export const llavaPictures = ['picture0', 'picture1'].map((name) => golden(`llava/${name}.png`)) as [string, string];
