// Checkpoints of the original LLaVA from end to end: the weights of the golden `llava` under the names that it saves.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ImageTextGenerator,
  LlavaForConditionalGeneration,
  LlavaMetaForCausalLM,
  LlavaProcessor,
  load_image,
  pipeline,
  type Tensor,
  type TextOptions,
  tensor,
  type VisionMessage,
} from '../../src/index.ts';
import { conversation, conversationOf, IMAGE_TOKEN_INDEX, promptOf } from '../../src/io/conversation.ts';
import { saveModel } from '../../src/io/save-model.ts';
import { isAttentionWanted } from '../../src/ops/watch.ts';
import { attentionOf } from '../../src/tasks/attention.ts';
import { stack } from '../../src/tasks/auto.ts';
import { plan } from '../../src/tasks/plan.ts';
import { ProjectorTraining } from '../../src/train/projector.ts';
import { golden, llavaPictures, originalFolder } from './support.ts';

const [red, blue] = llavaPictures;
const wide = golden('llava-original/wide.png');
const OPTIONS: TextOptions = { max_new_tokens: 6, eos_token_id: [] };
const ANYRES = {
  ...{ image_aspect_ratio: 'anyres', mm_patch_merge_type: 'spatial_unpad' },
  image_grid_pinpoints: '[(48, 24), (24, 48), (48, 48)]',
};

const ask = (text: string, ...images: string[]): VisionMessage => ({
  role: 'user',
  content: [...images.map((image) => ({ type: 'image' as const, image })), { type: 'text', text }],
});

async function said(look: ImageTextGenerator, messages: readonly VisionMessage[]) {
  using session = look.session();
  for await (const _ of session.stream(messages, OPTIONS)) {
    // `last` has all of it
  }
  return session.last!;
}

describe('padded pictures', () => {
  let look: ImageTextGenerator;
  beforeAll(async () => {
    look = await pipeline('image-text-to-text', originalFolder());
  });
  afterAll(() => look.dispose());

  it('answers what transformers would on the same tokens and pixels', async () => {
    const { prompt_ids, ids } = await said(look, [ask('Hi', red, blue)]);
    using same = await LlavaForConditionalGeneration.from_pretrained(golden('llava'));
    const theirs = (id: number) => (id === IMAGE_TOKEN_INDEX ? same.image_token_id : id);
    const input_ids = [prompt_ids.map(theirs)];
    const [a, b] = await Promise.all([look.processor.prepare(red), look.processor.prepare(blue)]);
    const pixel_values = stack([...a.tiles, ...b.tiles]);
    // as many tokens as the golden's config has places for are the least that both hold
    const embeds = async (model: typeof same, rows: number[][]) => {
      const { logits } = model.forward({ input_ids: tensor(rows, { dtype: 'i32' }), pixel_values, logits_to_keep: 1 });
      return logits.argmax(-1).item();
    };
    expect(await embeds(same, input_ids)).toBe(ids[0]);
    expect(await embeds(look.model, [prompt_ids])).toBe(ids[0]);
    const all = await look.model.generate({ input_ids: [prompt_ids], pixel_values, ...OPTIONS });
    expect(await all.tolist()).toEqual([[...prompt_ids, ...ids]]);
  });

  it('talks as the name of the model says, with -200 for each token of a picture', async () => {
    const messages = [ask('What is it?', red), { role: 'assistant', content: 'A cat.' }, ask('Sure?')] as const;
    const text = promptOf(conversation('v1'), ['<image>\nWhat is it?', 'A cat.', 'Sure?', null]);
    expect(look.processor.apply_chat_template(parts(messages))).toBe(
      text.replace('user and', 'human and').replace("the user's", "the human's"),
    );
    const picture = await look.processor.prepare(red);
    const ids = look.processor.encode(text, [picture]);
    expect(ids.filter((id) => id === IMAGE_TOKEN_INDEX).length).toBe(9);
    expect(ids[0]).toBe(look.tokenizer.bos_token_id);
    expect(ids.filter((id) => id === look.tokenizer.bos_token_id).length).toBe(1);
  });

  it('pads a picture to a square of the mean colour, where transformers cuts', async () => {
    const { tiles, image_size } = await look.processor.prepare(wide);
    const { width, height } = await load_image(wide);
    expect([tiles.length, image_size]).toEqual([1, [width, height]]);
    const { data, ...size } = look.processor.pixels(tiles[0]!);
    expect(size).toMatchObject({ width: 24, height: 24 });
    expect([...data.slice(0, 3)]).toEqual([122, 116, 104]);
  });

  it('is a processor too', async () => {
    const text = ['<image>\nHi', 'Well, hello'];
    const batch = await look.processor({ text, images: red, padding: true });
    expect(batch.input_ids.map((row) => row.length)).toEqual(batch.attention_mask.map((row) => row.length));
    expect(batch.input_ids[0]).toEqual(look.processor.encode(text[0]!, [await look.processor.prepare(red)]));
    expect(batch.pixel_values!.shape).toEqual([1, 3, 24, 24]);
    await expect(look.processor({ text: 'Hi', images: red })).rejects.toThrow(
      'got 0 <image> in the text for 1 pictures',
    );
    await expect(look.processor({ text, images: red, truncation: true })).rejects.toThrow('is not cut');
  });
});

const parts = (messages: readonly VisionMessage[]) =>
  messages.map(({ role, content }) => ({
    role,
    content: typeof content === 'string' ? [{ type: 'text', text: content }] : content.map((part) => ({ ...part })),
  }));

describe('pictures in tiles', () => {
  it.each(['spatial_unpad', 'spatial', 'flat'])('%s: the embeddings are those of the original', async (merge) => {
    const folder = originalFolder({ config: { ...ANYRES, mm_patch_merge_type: merge } });
    using look = await pipeline('image-text-to-text', folder);
    using meta = await LlavaMetaForCausalLM.from_pretrained(folder);
    const { prompt_ids, ids } = await said(look, [ask('Hi', wide, red)]);
    const [a, b] = await Promise.all([look.processor.prepare(wide), look.processor.prepare(red)]);
    const text = look.processor.apply_chat_template(parts([ask('Hi', wide, red)]));
    const short = look.processor.encode(
      text,
      [a, b].map((picture) => ({ ...picture, tokens: 1 })),
    );
    const { image_aspect_ratio, image_grid_pinpoints, mm_patch_merge_type } = look.model.config;
    const { inputs_embeds } = meta.prepare_inputs_labels_for_multimodal({
      ...{ input_ids: [short], images: [stack(a.tiles), stack(b.tiles)], image_sizes: [a.image_size, b.image_size] },
      ...{ image_aspect_ratio, image_grid_pinpoints, mm_patch_merge_type },
    });
    expect(inputs_embeds.shape[1]).toBe(prompt_ids.length);
    expect([a.tiles.length, b.tiles.length]).toEqual([5, 5]);
    const first = look.model.forward({ inputs_embeds, logits_to_keep: 1 }).logits.argmax(-1);
    expect(await first.item()).toBe(ids[0]);
    const { pixel_values, image_sizes } = await look.processor({ text, images: [wide, red] });
    const whole = await look.model.generate({ input_ids: [prompt_ids], pixel_values, image_sizes, ...OPTIONS });
    expect(await whole.tolist()).toEqual([[...prompt_ids, ...ids]]);
    await expect(look.model.generate({ input_ids: [prompt_ids], pixel_values })).rejects.toThrow(
      'image_sizes: got nothing',
    );
  });

  it('a tower that was saved with the rest is used, and needs no folder', async () => {
    using beside = await pipeline('image-text-to-text', originalFolder({ config: ANYRES }));
    const sizes = { num_attention_heads: 4 }; // OpenAI's have heads of 64, which a tower of 32 has not
    const config = { ...ANYRES, mm_vision_tower: 'openai/tiny' };
    const inside = originalFolder({ config, isTowerInside: true });
    await expect(pipeline('image-text-to-text', inside)).rejects.toThrow(/heads/);
    const files = { 'vision_tower/config.json': JSON.stringify({ ...beside.model.config.vision_config, ...sizes }) };
    const other = originalFolder({
      config: { ...config, mm_vision_tower: 'someone/else' },
      isTowerInside: true,
      files,
    });
    using look = await pipeline('image-text-to-text', other);
    expect((await said(look, [ask('Hi', wide)])).ids).toEqual((await said(beside, [ask('Hi', wide)])).ids);
  });
});

describe('a Mistral', () => {
  it('sees a window, and has all of its context', async () => {
    const open = (config: object) =>
      LlavaForConditionalGeneration.from_pretrained(
        originalFolder({ config: { model_type: 'llava_mistral', ...config } }),
      );
    using near = await open({ sliding_window: 3 });
    using far = await open({ sliding_window: null });
    expect([near.config.text_config.model_type, near.sizes.max_position_embeddings]).toEqual(['mistral', 1024]);
    const ids = [1, 5, 6, 7, 8, 9];
    const logits = async (model: typeof near) => {
      const made = model.forward({ input_ids: tensor([ids], { dtype: 'i32' }) }).logits;
      return (await made.tolist()) as number[][][];
    };
    const [[a], [b]] = [await logits(near), await logits(far)];
    expect(a!.slice(0, 3)).toEqual(b!.slice(0, 3)); // nothing is out of sight yet
    for (let i = 3; i < ids.length; i++) expect(a![i]).not.toEqual(b![i]);
  });
});

describe('where words looked', () => {
  it('is drawn on the tile that shows all of the picture', async () => {
    using look = await pipeline('image-text-to-text', originalFolder({ config: ANYRES }));
    const { prompt_ids, ids } = await said(look, [ask('Hi', wide)]);
    const { seen, words } = await attentionOf(look, wide, prompt_ids, ids);
    expect([seen.width, seen.height]).toEqual([24, 24]);
    expect(words.length).toBeGreaterThan(0);
    for (const { map, share } of words) {
      expect([map.length, map[0]!.length]).toEqual([3, 3]);
      expect(map.flat().reduce((a, b) => a + b)).toBeCloseTo(1, 5);
      expect(share).toBeGreaterThan(0);
      expect(share).toBeLessThan(1);
    }
  });

  it('looks no more where the model throws', async () => {
    using look = await pipeline('image-text-to-text', originalFolder());
    const forward = () => {
      expect(isAttentionWanted()).toBe(true);
      throw new Error('no');
    };
    const broken = { ...look, model: { ...look.model, forward } } as unknown as typeof look;
    await expect(attentionOf(broken, wide, [1, look.model.image_token_id], [5])).rejects.toThrow('no');
    expect(isAttentionWanted()).toBe(false);
  });
});

describe('prepare_inputs_labels_for_multimodal', () => {
  let meta: Awaited<ReturnType<typeof LlavaMetaForCausalLM.from_pretrained>>;
  let pictures: Tensor; // [2, 3, 24, 24]
  beforeAll(async () => {
    const folder = originalFolder();
    meta = await LlavaMetaForCausalLM.from_pretrained(folder);
    const processor = await LlavaProcessor.from_pretrained(folder);
    const [a, b] = await Promise.all([processor.prepare(red), processor.prepare(blue)]);
    pictures = stack([...a.tiles, ...b.tiles]);
  });
  afterAll(() => meta.dispose());
  const input_ids = [
    [1, IMAGE_TOKEN_INDEX, 7, 8],
    [1, 9, IMAGE_TOKEN_INDEX, 10],
  ];

  it('takes pictures as one tensor, or each by itself', async () => {
    const prepare = (images: Tensor | Tensor[]) =>
      meta.prepare_inputs_labels_for_multimodal({ input_ids, images }).inputs_embeds.tolist();
    const want = await prepare(pictures);
    const each = [pictures.select(0, 0), pictures.select(0, 1)];
    expect(await prepare(each)).toEqual(want);
    expect(await prepare(each.map((picture) => picture.unsqueeze(0)))).toEqual(want);
    expect(await prepare([each[0]!, each[1]!.unsqueeze(0)])).toEqual(want);
    expect(await prepare(pictures.unsqueeze(1))).toEqual(want);
  });

  it('a row that is masked as a whole is padding, and has a picture that nobody sees', async () => {
    const attention_mask = [
      [0, 0, 0, 0],
      [0, 1, 1, 1],
    ];
    const given = { input_ids, labels: input_ids, attention_mask, images: pictures };
    const made = meta.prepare_inputs_labels_for_multimodal(given);
    const L = 2 + 9;
    expect(made.attention_mask).toEqual([new Array(L).fill(0), new Array(L).fill(1)]);
    expect(made.labels).toEqual([new Array(L).fill(-100), [9, ...new Array(9).fill(-100), 10]]);
    const [none, some] = (await made.inputs_embeds.tolist()) as number[][][];
    expect(none!.flat()).toEqual(new Array(32 * L).fill(0));
    const alone = meta.prepare_inputs_labels_for_multimodal({
      ...{ input_ids: [input_ids[1]!.slice(1)], images: pictures.slice(0, 1) },
    });
    expect([some]).toEqual(await alone.inputs_embeds.tolist());
    const nobody = meta.prepare_inputs_labels_for_multimodal({
      ...{ input_ids, images: pictures, attention_mask: input_ids.map((row) => row.map(() => 0)) },
    });
    expect([nobody.inputs_embeds.shape, nobody.labels]).toEqual([
      [2, 0, 32],
      [[], []],
    ]);
  });

  it('a row of text has a picture too', async () => {
    const rows = [[1, 5, 6, 7], input_ids[1]!];
    const { inputs_embeds, attention_mask } = meta.prepare_inputs_labels_for_multimodal({
      input_ids: rows,
      images: pictures,
    });
    expect(inputs_embeds.shape).toEqual([2, 12, 32]);
    expect(attention_mask[0]).toEqual([1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('says what does not fit', () => {
    const prepare = (more: object) => () =>
      meta.prepare_inputs_labels_for_multimodal({ input_ids, images: pictures, ...more });
    expect(prepare({ images: pictures.slice(0, 1) })).toThrow(
      'got 2 image placeholders and rows without one for 1 pictures',
    );
    expect(prepare({ input_ids: input_ids.slice(1) })).toThrow(
      'got 1 image placeholders and rows without one for 2 pictures',
    );
    expect(prepare({ labels: [[1]] })).toThrow('labels: got rows of 1, want those of input_ids, 4,4');
    expect(prepare({ images: [pictures], mm_patch_merge_type: 'grid' })).toThrow('got grid, want flat, spatial');
  });

  it('a projector that is the identity gives what the tower sees', async () => {
    const folder = originalFolder({ config: { mm_projector_type: 'identity' }, hasProjector: false });
    using same = await LlavaMetaForCausalLM.from_pretrained(folder);
    const { tower, features } = same.encode_images(pictures);
    expect(await features.tolist()).toEqual(await tower.tolist());
    using look = await pipeline('image-text-to-text', folder);
    expect((await said(look, [ask('Hi', red)])).ids.length).toBe(6);
    expect(() => new ProjectorTraining(look, { steps: 1 })).toThrow('has no weights to learn');
    const config = { mm_projector_type: 'identity', mm_vision_select_layer: [-2, -1] };
    await expect(LlavaMetaForCausalLM.from_pretrained(originalFolder({ config, hasProjector: false }))).rejects.toThrow(
      'identity: got 64, want 32',
    );
  });
});

describe('conversations', () => {
  it.each([
    ['llava-v1.5-7b', 'llava_v1'],
    ['llava-v1.6-mistral-7b', 'mistral_instruct'],
    ['LLaVA-1.6-v1.6-34b', 'chatml_direct'],
    ['llava-llama-2-13b-chat', 'llava_llama_2'],
    ['LLaVA-7b-v0', 'llava_v0'],
    ['mine', 'llava_v1'],
  ])('%s talks as %s', (name, mode) => {
    expect(conversationOf([name])).toBe(conversation(mode));
    expect(conversationOf(['mine', name])).toBe(conversation(mode));
  });

  it('is chosen by conv_mode, or a template beside the weights', async () => {
    using v0 = await pipeline('image-text-to-text', originalFolder(), { conv_mode: 'v0' });
    const text = v0.processor.apply_chat_template(parts([ask('Hi', red)]));
    expect(text).toMatch(/###Human: <image>\nHi###Assistant:$/);
    expect(v0.processor.stop).toEqual(['###']);
    await expect(pipeline('image-text-to-text', originalFolder(), { conv_mode: 'v9' })).rejects.toThrow(
      "got 'v9', want one of",
    );
    const files = { 'chat_template.jinja': '{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}' };
    const processor = await LlavaProcessor.from_pretrained(originalFolder({ files }));
    expect(processor.apply_chat_template(parts([ask('Hi', red)]))).toBe('<user><image>\nHi');
  });

  it('takes the words of a system, and refuses roles out of turn', async () => {
    const { apply_chat_template } = await LlavaProcessor.from_pretrained(
      originalFolder({ config: { mm_use_im_start_end: true } }),
    );
    const system = { role: 'system', content: 'Be brief.' };
    expect(apply_chat_template(parts([system, ask('Hi', red)]))).toBe(
      'Be brief. USER: <im_start><image><im_end>\nHi ASSISTANT:',
    );
    expect(() => apply_chat_template(parts([ask('Hi'), ask('Hi')]))).toThrow(
      'got user, user, want user and assistant in turn',
    );
    expect(() => apply_chat_template(parts([system]))).toThrow('got system, want');
    expect(() => apply_chat_template(parts([system, ask('')]))).toThrow('content of message 1: got nothing');
  });
});

it('is saved with other values, its tower beside it', async () => {
  const to = mkdtempSync(path.join(tmpdir(), 'llava-v1.5-'));
  try {
    const name = 'multi_modal_projector.linear_2.bias';
    await saveModel(originalFolder(), to, new Map([[name, new Float32Array(32).fill(0.25)]]));
    using changed = await LlavaForConditionalGeneration.from_pretrained(to);
    expect(await changed.named_parameters().get(name)!.data()).toEqual(new Float32Array(32).fill(0.25));
    await expect(plan(to)).rejects.toThrow(
      'got a LLaVA of the original repository, whose config has no sizes of its tower',
    );
  } finally {
    rmSync(to, { recursive: true });
  }
});

describe('says what is wrong', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['another projector', { mm_projector_type: 'resampler' }, 'got "resampler", want identity, linear, or mlp2x_gelu'],
    ['layers that are not there', { mm_projector_type: 'mlp3x_gelu' }, 'multi_modal_projector.linear_3.weight'],
    [
      'another language model',
      { model_type: 'llava_mpt' },
      'got "llava_mpt", want one of llava, llava_llama, llava_mistral',
    ],
    ['another aspect', { image_aspect_ratio: 'anyres_max_9' }, 'got "anyres_max_9", want one of square, pad, anyres'],
    ['no grid', { image_aspect_ratio: 'anyres' }, 'image_grid_pinpoints: got nothing'],
    ['a bad grid', { image_grid_pinpoints: '(1x1),...,(6x6)' }, 'want [[672, 336], ...]'],
  ])('%s', async (_, config, message) => {
    const made = (async () => {
      using look = await pipeline('image-text-to-text', originalFolder({ config }));
      await said(look, [ask('Hi', red)]);
    })();
    await expect(made).rejects.toThrow(message);
  });
});
