// pipeline('image-text-to-text'): answers to messages with pictures, and texts that go on from them.
import { run } from '../exec/run.ts';
import type { Message, Part } from '../io/chat-template.ts';
import { UserError } from '../io/error.ts';
import { sha256 } from '../io/hash.ts';
import { lookUp, type ModelSource } from '../io/locate.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import type { Tokenizer } from '../io/tokenizer.ts';
import { concat } from '../ops/index.ts';
import { describe } from '../tensor/check.ts';
import { AutoModelForImageTextToText, IMAGE_TEXT_TO_TEXT, identify } from './auto.ts';
import type { OriginalOptions } from './llava-original.ts';
import { LlavaProcessor, pixelsOf } from './llava-processor.ts';
import type { LlavaPicture } from './llava-prompt.ts';
import type { ImageInput } from './load-image.ts';
import type { Session } from './session.ts';
import { type Inserts, place } from './spans.ts';
import { type GenerateTextOptions, writer } from './text-generation.ts';

/** Parts of a message, in the order in which they are seen. */
export type MessagePart = { type: 'text'; text: string } | { type: 'image'; image: ImageInput };
export type VisionMessage = Message<string | readonly MessagePart[]>;
/** A prompt as it is, with one `<image>` for each picture. */
export type ImagePrompt = { text: string; images?: ImageInput | readonly ImageInput[] };
export type ImageTextInput = string | ImagePrompt | readonly VisionMessage[];

type Model = Awaited<ReturnType<typeof AutoModelForImageTextToText.from_pretrained>>;
/** For messages the text is the messages with the answer behind them. */
type Answered<I> = { generated_text: I extends readonly VisionMessage[] ? VisionMessage[] : string };
export type ImageTextGenerator = (<I extends ImageTextInput>(
  input: I,
  options?: GenerateTextOptions,
) => Promise<Answered<I>[]>) &
  Disposable & {
    model: Model;
    model_type: string;
    tokenizer: Tokenizer;
    processor: LlavaProcessor;
    /** A conversation, which keeps what it computed, of pictures too. */
    session(): Session<ImageTextInput>;
    dispose(): void;
  };

/** `const look = await pipeline('image-text-to-text', folder)`; `await look([{ role: 'user', content: [{ type: 'image', image }, ...] }])`. */
export async function imageTextToText(
  source: ModelSource,
  options: FromPretrained & OriginalOptions = {},
): Promise<ImageTextGenerator> {
  const from = await lookUp(source, options);
  const processor = await LlavaProcessor.from_pretrained(from, options);
  const { model_type } = await identify(from, options, IMAGE_TEXT_TO_TEXT);
  const model = await AutoModelForImageTextToText.from_pretrained(from, options);
  const { tokenizer, stop } = processor;
  const read = async (input: ImageTextInput) => {
    const { text, images } = isMessages(input) ? visionPrompt(input, processor) : plainPrompt(input);
    const pictures: LlavaPicture[] = [];
    for (const [i, image] of images.entries())
      pictures.push(await processor.prepare(image, images.length > 1 ? `picture ${i + 1}` : 'image'));
    const ids = processor.encode(text, pictures);
    const embeds: Inserts['embeds'] = async (from, options) => {
      const inputs = pixelsOf(pictures.slice(from));
      using _ = inputs.pixel_values;
      const features = concat(model.get_picture_tokens(inputs), 0);
      await run([features], options);
      return features;
    };
    const named = pictures.map(async (picture) => ({ name: await hashOf(picture), length: picture.tokens }));
    return { ids, spans: place([ids], model.image_token_id, await Promise.all(named)), embeds };
  };
  const textOf = (input: ImageTextInput) => (isMessages(input) ? undefined : plainPrompt(input).text);
  const generate = writer({ model, tokenizer, read, stop }, textOf);
  const more = { model_type, processor };
  return Object.assign(generate, more) as unknown as ImageTextGenerator;
}

/** The same for the same pixels. */
async function hashOf({ tiles }: LlavaPicture): Promise<string> {
  const hash = await sha256();
  for (const { data } of tiles) hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return hash.hex();
}

const isMessages = (input: ImageTextInput): input is readonly VisionMessage[] => Array.isArray(input);

function plainPrompt(input: string | ImagePrompt): { text: string; images: readonly ImageInput[] } {
  const { text, images = [] } = typeof input === 'string' ? { text: input } : (input ?? {});
  if (typeof text === 'string') return { text, images: (Array.isArray(images) ? images : [images]) as ImageInput[] };
  throw new UserError(`[image-text-to-text] got ${describe(input)}, want messages, a text, or { text, images }`);
}

/** Messages by the template of the model, which writes a placeholder for each picture, and the pictures. */
export function visionPrompt(
  messages: readonly VisionMessage[],
  { apply_chat_template }: LlavaProcessor,
  add_generation_prompt = true,
) {
  const images: ImageInput[] = [];
  const parts = (content: unknown, i: number): Part[] => {
    if (typeof content === 'string') return [{ type: 'text', text: content }];
    if (!Array.isArray(content)) return [];
    return content.map((part: Partial<MessagePart & { text: string; image: ImageInput }>) => {
      const { type, text, image } = part ?? {};
      if (type === 'text' && typeof text === 'string') return { type, text };
      if (type !== 'image' || image === undefined || image === null) {
        const want = "{ type: 'text', text } or { type: 'image', image }";
        throw new UserError(`[chat] content of message ${i}: got ${describe(part)}, want ${want}`);
      }
      images.push(image);
      return { type };
    });
  };
  const seen = messages.map((message, i) => ({ ...message, content: parts(message?.content, i) }));
  return { text: apply_chat_template(seen, { add_generation_prompt }), images };
}
