// Every argument of what users call in turn is something else. What comes of it is a result, or an error in words.
import { expect, it } from 'vitest';
import {
  AdamW,
  AutoModel,
  AutoTokenizer,
  EulerDiscreteScheduler,
  Generator,
  LlamaForCausalLM,
  LlavaMetaForCausalLM,
  load_image,
  Picture,
  pipeline,
  preprocess,
  TextStreamer,
  tensor,
  VaeImageProcessor,
} from '../../src/index.ts';
import { answerTo, isInWords, replaced } from '../anything.ts';
import { chatFolder, golden, llavaFolder, llavaPictures, originalFolder, pictures, tinyFolder } from './support.ts';

const broken: string[] = [];
// biome-ignore lint/suspicious/noExplicitAny: mistakes have no types
async function sweep(name: string, call: (...args: any) => unknown, args: unknown[]): Promise<void> {
  const whole = await answerTo(() => call(...args));
  if (whole !== '') broken.push(`${name}: ${whole}`);
  for (const [what, given] of replaced(args, true)) {
    const answer = await answerTo(() => call(...given));
    if (!isInWords(answer)) broken.push(`${name}(${what}): ${answer}`);
  }
}

it('is a result, or an error in words', { timeout: 600_000 }, async () => {
  const few = { max_new_tokens: 1 };
  using generate = await pipeline('text-generation', chatFolder());
  const { model, tokenizer } = generate;
  using session = generate.session();
  const messages = [{ role: 'user', content: 'hi' }];
  const more = { stop: 'x', signal: AbortSignal.timeout(600_000), seed: 1, truncation: true, on_text: () => {} };
  await sweep('generate', generate, ['hi', { ...few, ...more, return_full_text: true, eos_token_id: [] }]);
  await sweep('stream', (input, options) => session.stream(input, options), [messages, few]);
  await sweep('save', (notes) => session.save(notes), [{ a: 'b' }]);
  await sweep('load', (bytes) => session.load(bytes), [await session.save()]);
  const ids = { input_ids: [[1, 2]], attention_mask: [[1, 1]] };
  await sweep('model.generate', (inputs) => model.generate(inputs), [{ ...ids, ...few, streamer: undefined }]);
  const input_ids = tensor([[1]], { dtype: 'i32' });
  await sweep('forward', model.forward, [{ input_ids, attention_mask: input_ids, position_ids: input_ids }]);
  await sweep('tap', model.tap, ['model']);
  let n = 0;
  const adapter = golden('llama-lora/adapter_a');
  await sweep('load_adapter', (from, options) => model.load_adapter(from, `${n++}`, options), [adapter, {}]);
  await sweep('set_adapters', model.set_adapters, [[], []]);
  await sweep('tokenizer', tokenizer, ['hi', { padding: true, truncation: true, max_length: 3 }]);
  await sweep('encode', tokenizer.encode, ['hi', { add_special_tokens: true }]);
  await sweep('decode', tokenizer.decode, [[1], { skip_special_tokens: true }]);
  await sweep('chat', tokenizer.apply_chat_template, [messages, { add_generation_prompt: true }]);
  const streamed = (...[of, options, rows]: [...ConstructorParameters<typeof TextStreamer>, number[][]]) =>
    new TextStreamer(of, options).put(rows);
  await sweep('TextStreamer', streamed, [tokenizer, { skip_prompt: true, callback_function: () => {} }, [[1]]]);
  await sweep('Generator', (seed, options) => new Generator(seed, options), [1, { algorithm: 'torch' as const }]);
  await sweep('AdamW', (params, options) => new AdamW(params, options), [[tensor([1])], { lr: 1 }]);
  const moments = { exp_avg: Float32Array.of(1), exp_avg_sq: Float32Array.of(1) };
  const load = (state: Parameters<AdamW['load_state_dict']>[0]) => new AdamW([tensor([1])]).load_state_dict(state);
  await sweep('load_state_dict', load, [{ step: 1, state: [moments] }]);
  await sweep('preprocess', preprocess, ['v1', ['a', 'b'], tokenizer]);
  const sizes = { vocab_size: 4, hidden_size: 8, num_attention_heads: 2, num_hidden_layers: 1, intermediate_size: 4 };
  await sweep('from_config', LlamaForCausalLM.from_config, [sizes, { dtype: 'f32' }]);
  await sweep('from_pretrained', AutoModel.from_pretrained, [tinyFolder('clip'), {}]);
  await sweep('AutoTokenizer', (from, options) => AutoTokenizer.from_pretrained(from, options), [chatFolder(), {}]);
  await sweep('load_image', load_image, [pictures[0]!]);
  const pixels = { width: 8, height: 8, channels: 3, data: new Uint8Array(192) };
  await sweep('Picture', (image, settings) => new Picture(image, settings).toPng(), [pixels, { a: 1 }]);
  const size = { width: 8, height: 8 };
  const processor = new VaeImageProcessor();
  await sweep('VaeImageProcessor', (options) => new VaeImageProcessor(options), [{ vae_scale_factor: 8 }]);
  await sweep('preprocess a picture', (image, to) => processor.preprocess(image, to), [pixels, size]);
  await sweep('set_timesteps', (n, options) => new EulerDiscreteScheduler().set_timesteps(n, options), [2, {}]);
  expect(broken.splice(0)).toEqual([]);
});

it('is that of a model that sees, too', { timeout: 600_000 }, async () => {
  using look = await pipeline('image-text-to-text', llavaFolder());
  const images = llavaPictures[0];
  await sweep('look', look, [{ text: 'a <image>', images }, { max_new_tokens: 1 }]);
  await sweep('processor', look.processor, [{ text: '<image>', images }]);
  using classify = await pipeline('zero-shot-image-classification', tinyFolder('clip'));
  await sweep('classify', classify, [pictures[0]!, ['a'], { hypothesis_template: '{}', batch_size: 1 }]);
  using extract = await pipeline('image-feature-extraction', tinyFolder('clip'));
  await sweep('extract', extract, [pictures[0]!, { pool: true, normalize: true, batch_size: 1 }]);
  using meta = await LlavaMetaForCausalLM.from_pretrained(originalFolder());
  const pixel_values = tensor(new Float32Array(3 * 24 * 24), [1, 3, 24, 24]);
  const rows = { input_ids: [[-200]], labels: [[1]], attention_mask: [[1]], images: pixel_values };
  await sweep('prepare', meta.prepare_inputs_labels_for_multimodal, [rows]);
  expect(broken.splice(0)).toEqual([]);
});
