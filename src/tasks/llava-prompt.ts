// Prompts with pictures, as LLaVA's folders of both kinds have them: texts with a placeholder for each picture.
import type { Size } from '../io/anyres.ts';
import type { ChatOptions, Message, Part } from '../io/chat-template.ts';
import { UserError } from '../io/error.ts';
import type { Pixels } from '../io/pixels.ts';
import type { Batch, BatchOptions, Tokenizer } from '../io/tokenizer.ts';
import type { PixelValues } from './image-processor.ts';

/** A picture as the tower sees it, whole or in tiles; its size before; and how many tokens stand for it. */
export type LlavaPicture = { tiles: readonly PixelValues[]; image_size: Size; tokens: number };
export type VisionTemplate = (messages: readonly Message<readonly Part[]>[], options?: ChatOptions) => string;

/** What differs between the folders of transformers and of the original repository. */
export type LlavaKind = {
  process(image: Pixels, name: string): LlavaPicture;
  /** What the tower sees, as a picture. */
  pixels(tile: PixelValues): Pixels;
  /** Tokens of a text with as many placeholders for each picture as it has tokens. */
  encode(text: string, pictures: readonly LlavaPicture[]): number[];
  batch(texts: readonly string[], pictures: readonly LlavaPicture[], options: BatchOptions): Batch;
  /** Messages, whose parts are texts and pictures, as a text with a placeholder for each picture. */
  apply_chat_template: VisionTemplate;
  image_token: string;
  /** Texts that end an answer, beside the tokens that do. */
  stop: readonly string[];
};
/** Throws a UserError with both counts where texts have more or fewer placeholders than there are pictures. */
export function checkPlaces(texts: readonly string[], pictures: readonly unknown[], image_token: string): void {
  const places = texts.reduce((n, text) => n + text.split(image_token).length - 1, 0);
  if (places === pictures.length) return;
  const got = `${places} ${image_token} in the text for ${pictures.length} pictures`;
  throw new UserError(`[llava] got ${got}, want one ${image_token} for each picture`);
}

/** The texts of a message, `picture` in the place of each picture. */
export const flat = (content: readonly Part[], picture: string): string =>
  content.map(({ text }) => text ?? picture).join('');

/** The template of a tokenizer; one that knows of no parts gets texts with the placeholders in them. */
export function templateOf(tokenizer: Tokenizer, picture: string): VisionTemplate {
  const knowsParts = JSON.stringify(tokenizer.config.chat_template ?? '').includes('image');
  return (messages, options) => {
    const given = knowsParts ? messages : messages.map((m) => ({ ...m, content: flat(m.content, picture) }));
    return tokenizer.apply_chat_template(given, options);
  };
}
