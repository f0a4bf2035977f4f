// Texts and pictures as the original LLaVA gives them to its language model: conversations by the name of the model, -200 for
// pictures, and the pictures as its config says. Reference: llava/eval/run_llava.py and llava/mm_utils.py of
// https://github.com/haotian-liu/LLaVA.
import { tileCounts } from '../io/anyres.ts';
import type { CheckpointOptions } from '../io/checkpoint.ts';
import {
  type Conversation,
  conversation,
  conversationOf,
  IMAGE,
  IMAGE_TOKEN_INDEX,
  promptOf,
  stopOf,
  tokenizer_image_token,
} from '../io/conversation.ts';
import { UserError } from '../io/error.ts';
import { locate, lookUp, type ModelSource } from '../io/locate.ts';
import { baseName } from '../io/source.ts';
import { pad, type Tokenizer } from '../io/tokenizer.ts';
import { findImageProcessor, IMAGE_TEXT_TO_TEXT, identify } from './auto.ts';
import { type ImageProcessor, imageProcessor } from './image-processor.ts';
import { process_image } from './llava-images.ts';
import {
  checkPlaces,
  flat,
  type LlavaKind,
  type LlavaPicture,
  templateOf,
  type VisionTemplate,
} from './llava-prompt.ts';

export type OriginalOptions = CheckpointOptions & {
  /** For the original LLaVA: how it was taught to talk, such as v1; by default what the name of the model says. */
  conv_mode?: string | undefined;
};

/** What takes the place of the processor of transformers. */
export async function originalLlava(
  tokenizer: Tokenizer,
  from: ModelSource,
  options: OriginalOptions,
): Promise<LlavaKind> {
  const { folder } = await locate(from, options);
  const { config } = await identify(from, options, IMAGE_TEXT_TO_TEXT);
  const { image_size, patch_size } = config.vision_config;
  const processor = await towerProcessor(from, options, image_size);
  const isFull = config.vision_feature_select_strategy === 'full';
  const each = Math.floor(image_size / patch_size) ** 2 + (isFull ? 1 : 0);

  const process: LlavaKind['process'] = (image, name) => {
    const size = [image.width, image.height] as const;
    const tiles = process_image(image, processor, config, name);
    return { tiles, image_size: size, tokens: tileCounts(size, each, config, image_size).tokens };
  };
  const encode = (text: string, pictures: readonly LlavaPicture[]) => {
    checkPlaces([text], pictures, IMAGE);
    let next = 0;
    return tokenizer_image_token(text, tokenizer).flatMap((id) =>
      id === IMAGE_TOKEN_INDEX ? new Array<number>(pictures[next++]!.tokens).fill(id) : [id],
    );
  };
  const batch: LlavaKind['batch'] = (texts, pictures, given) => {
    if (given.truncation) throw new UserError('[llava] truncation: a text with pictures is not cut');
    checkPlaces(texts, pictures, IMAGE);
    let next = 0;
    const rows = texts.map((text) => encode(text, pictures.slice(next, (next += text.split(IMAGE).length - 1))));
    return pad(rows, given, given.max_length, tokenizer);
  };
  const picture = config.mm_use_im_start_end ? `<im_start>${IMAGE}<im_end>\n` : `${IMAGE}\n`;
  const shared = { process, pixels: processor.pixels, encode, batch, image_token: IMAGE };
  const { conv_mode } = options;
  if (conv_mode === undefined && tokenizer.config.chat_template !== undefined)
    return { ...shared, apply_chat_template: templateOf(tokenizer, picture), stop: [] };
  const c = conv_mode ? conversation(conv_mode) : conversationOf([baseName(folder.name), String(config._name_or_path)]);
  return {
    ...shared,
    apply_chat_template: conversationTemplate(c, picture),
    stop: c.style === 'single' ? [stopOf(c)] : [], // elsewhere it is a token
  };
}

/** The processor of the model, or of its tower, or what CLIP's would be for its size. */
async function towerProcessor(from: ModelSource, options: OriginalOptions, size: number): Promise<ImageProcessor> {
  const { folder } = await locate(from, options);
  const { vision_tower } = options;
  const elsewhere = { ...options, subfolder: undefined, revision: undefined };
  const beside = vision_tower === undefined ? folder.at('vision_tower') : await lookUp(vision_tower, elsewhere);
  const own = (await findImageProcessor(folder)) ?? (await findImageProcessor((await locate(beside)).folder));
  return own ?? imageProcessor({ size: { shortest_edge: size }, crop_size: size });
}

/** Messages that take turns, perhaps after one of the system, which is said in place of the usual words. */
function conversationTemplate(c: Conversation, picture: string): VisionTemplate {
  return (messages, { add_generation_prompt = true } = {}) => {
    const [first, ...rest] = messages;
    const isTold = first?.role === 'system';
    const turns = isTold ? rest : messages;
    const wrong = turns.findIndex(({ role }, i) => role !== (i % 2 === 0 ? 'user' : 'assistant'));
    const last = turns.at(-1)?.role;
    if (wrong >= 0 || last === undefined || (add_generation_prompt && last !== 'user')) {
      const got = messages.map(({ role }) => role).join(', ') || 'none';
      throw new UserError(
        `[chat] roles of messages: got ${got}, want user and assistant in turn, the user at both ends`,
      );
    }
    const head = c.style === 'mpt' ? '<|im_start|>system\n' : '';
    const system = isTold ? head + flat(first.content, '') : c.system;
    const said = turns.map(({ content }) => flat(content, picture));
    const empty = said.indexOf(''); // would be an answer to come
    if (empty >= 0)
      throw new UserError(`[chat] content of message ${empty + (isTold ? 1 : 0)}: got nothing, want a text`);
    return promptOf({ ...c, system }, add_generation_prompt ? [...said, null] : said);
  };
}
