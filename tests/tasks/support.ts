// A small CLIP or SigLIP folder in memory: a golden's weights, a tokenizer of letters, a processor.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type StoredTensor, writeSafetensors } from '../../src/io/safetensors.ts';
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

/** Tensors of a safetensors file under other names: `rename` gives a file and a name. */
function renamed(bytes: Uint8Array, rename: (name: string) => readonly [file: string, name: string]) {
  const files = new Map<string, Map<string, StoredTensor>>();
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const { __metadata__: _, ...header } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  for (const [old, info] of Object.entries(header)) {
    const { dtype, shape, data_offsets } = info as StoredTensor & { data_offsets: [number, number] };
    const data = bytes.slice(8 + length + data_offsets[0], 8 + length + data_offsets[1]);
    const [file, name] = rename(old);
    if (!files.has(file)) files.set(file, new Map());
    files.get(file)!.set(name, { dtype, shape, data });
  }
  return files;
}

/** The golden `llava` as the original repository saves models: its names, its config, the tower beside it or inside. */
export function originalFolder({
  config = {},
  name = 'llava-v1.5-tiny',
  isTowerInside = false,
  hasProjector = true,
  files: more = {} as Record<string, string>,
} = {}): Folder {
  const { text_config, vision_config } = JSON.parse(readFileSync(golden('llava/config.json'), 'utf8'));
  const own = {
    ...{ ...text_config, model_type: 'llava', max_position_embeddings: 1024, mm_vision_tower: 'openai/tiny' },
    ...{ mm_projector_type: 'mlp2x_gelu', mm_vision_select_layer: -2, mm_vision_select_feature: 'patch' },
    ...{ image_aspect_ratio: 'pad', ...config },
  };
  const inside = (name: string) =>
    ['model.safetensors', `model.vision_tower.vision_tower.vision_model.${name}`] as const;
  const files = renamed(read('llava/model.safetensors'), (name) => {
    const [, tower] = /^(?:model\.)?vision_tower\.(?:vision_model\.)?(.*)/.exec(name) ?? [];
    if (tower) return isTowerInside ? inside(tower) : ['vision_tower/model.safetensors', `vision_model.${tower}`];
    const [, layer, part] = /multi_modal_projector\.linear_(\d)\.(.*)/.exec(name) ?? [];
    if (layer) return ['model.safetensors', `model.mm_projector.${2 * (Number(layer) - 1)}.${part}`];
    return [
      'model.safetensors',
      name.replace(/^(?:model\.)?language_model\./, '').replace(/^(?!model|lm_head)/, 'model.'),
    ];
  });
  const weights = files.get('model.safetensors')!;
  for (const name of weights.keys()) if (!hasProjector && name.includes('mm_projector')) weights.delete(name);
  const newline = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
  weights.set('model.image_newline', { dtype: 'F32', shape: [32], data: newline });
  return memoryFolder(
    [
      ...[...files].map(([file, tensors]) => [file, writeSafetensors(tensors)] as const),
      ...['generation_config', 'tokenizer', 'tokenizer_config'].map(
        (file) => [`${file}.json`, read(`llava/${file}.json`)] as const,
      ),
      ['config.json', JSON.stringify(own)],
      ...(isTowerInside ? [] : [['vision_tower/config.json', JSON.stringify(vision_config)] as const]),
      ...Object.entries(more),
    ],
    name,
  );
}
