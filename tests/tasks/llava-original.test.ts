// Checkpoints of the original LLaVA from end to end: the weights of the golden `llava` under the names that it saves.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ImageTextGenerator,
  LlavaForConditionalGeneration,
  LlavaMetaForCausalLM,
  LlavaProcessor,
  load_image,
  pipeline,
  type TextOptions,
  tensor,
  type VisionMessage,
} from '../../src/index.ts';
import { conversation, conversationOf, IMAGE_TOKEN_INDEX, promptOf } from '../../src/io/conversation.ts';
import { stack } from '../../src/tasks/auto.ts';
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
  });
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
