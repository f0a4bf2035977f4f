// What LLaVA's language model is given for texts and pictures. Reference: transformers' LlavaProcessor.
import type { Size } from '../io/anyres.ts';
import { UserError } from '../io/error.ts';
import { parseObject } from '../io/json.ts';
import { isOriginalLlava } from '../io/layouts/llava.ts';
import { locate, type ModelSource } from '../io/locate.ts';
import type { Pixels } from '../io/pixels.ts';
import type { Config } from '../io/pretrained.ts';
import { type BatchOptions, loadTokenizer, type Tokenizer } from '../io/tokenizer.ts';
import { checkOptions, describe } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { loadImageProcessor, stack } from './auto.ts';
import type { ImageProcessor } from './image-processor.ts';
import { type OriginalOptions, originalLlava } from './llava-original.ts';
import { checkPlaces, type LlavaKind, type LlavaPicture, templateOf } from './llava-prompt.ts';
import { type ImageInput, load_image, nameOf } from './load-image.ts';

export type LlavaProcessorInputs = BatchOptions & {
  /** With one `<image>` for each picture. */
  text: string | readonly string[];
  images?: ImageInput | readonly ImageInput[];
};
export type LlavaProcessor = {
  (
    inputs: LlavaProcessorInputs,
  ): Promise<{
    input_ids: number[][];
    attention_mask: number[][];
    pixel_values?: Tensor;
    image_sizes?: Size[];
  }>;
  tokenizer: Tokenizer;
  /** `name` is what errors call it. */
  prepare(image: ImageInput, name?: string): Promise<LlavaPicture>;
} & Omit<LlavaKind, 'process' | 'batch'>;

/** What a model is called with for pictures. */
export const pixelsOf = (pictures: readonly LlavaPicture[]) => ({
  pixel_values: stack(pictures.flatMap(({ tiles }) => tiles)),
  image_sizes: pictures.map(({ image_size }) => image_size),
});

type Settings = { patch_size: number; extra: number; image_token: string };

/** processor_config.json, and where it is silent (or missing, as in older folders) what the model's config says. */
function settingsOf(own: Config, config: Config): Settings {
  const { vision_config = {} } = config;
  const isSiglip = vision_config.model_type === 'siglip_vision_model';
  const patch_size = own.patch_size ?? vision_config.patch_size ?? 14;
  const classes = own.patch_size ? (own.num_additional_image_tokens ?? 0) : isSiglip ? 0 : 1;
  const strategy = own.vision_feature_select_strategy ?? config.vision_feature_select_strategy ?? 'default';
  const good = (n: unknown, least: number) => Number.isInteger(n) && (n as number) >= least;
  if (!good(patch_size, 1) || !good(classes, 0)) {
    const got = `patch_size ${describe(patch_size)}, num_additional_image_tokens ${describe(classes)}`;
    throw new UserError(`[processor_config.json] got ${got}, want whole numbers`);
  }
  return { patch_size, extra: classes - (strategy === 'default' ? 1 : 0), image_token: own.image_token ?? '<image>' };
}

/** The processor of a folder or an id of the hub. */
export async function loadLlavaProcessor(from: ModelSource, options: OriginalOptions = {}): Promise<LlavaProcessor> {
  const { folder } = await locate(from, options);
  const read = async (name: string): Promise<Config> => {
    const text = await folder.text(name);
    return text === undefined ? {} : parseObject(text, name);
  };
  const config = await read('config.json');
  const tokenizer = await loadTokenizer(folder);
  if (isOriginalLlava(config)) return llavaProcessor(tokenizer, await originalLlava(tokenizer, from, options));
  const settings = settingsOf(await read('processor_config.json'), config);
  return llavaProcessor(tokenizer, llava(tokenizer, await loadImageProcessor(folder), settings));
}

/** As transformers has it. */
function llava(tokenizer: Tokenizer, processor: ImageProcessor, settings: Settings): LlavaKind {
  const { patch_size, extra, image_token } = settings;
  const process = (image: Pixels, name: string) => {
    const pixels = processor(image, name);
    const [, height, width] = pixels.shape;
    const tokens = Math.floor(height / patch_size) * Math.floor(width / patch_size) + extra;
    return { tiles: [pixels], image_size: [image.width, image.height] as const, tokens };
  };
  const expand = (texts: readonly string[], pictures: readonly LlavaPicture[]) => {
    checkPlaces(texts, pictures, image_token);
    let next = 0;
    return texts.map((text) => text.replaceAll(image_token, () => image_token.repeat(pictures[next++]!.tokens)));
  };
  const bos = tokenizer.bos_token_id === undefined ? undefined : tokenizer.id_to_token(tokenizer.bos_token_id);
  const encode = (text: string, pictures: readonly LlavaPicture[]) => {
    const [expanded] = expand([text], pictures) as [string];
    const isBegun = bos !== undefined && expanded.startsWith(bos);
    return tokenizer.encode(expanded, { add_special_tokens: !isBegun });
  };
  const batch: LlavaKind['batch'] = (texts, pictures, options) => tokenizer(expand(texts, pictures), options);
  const apply_chat_template = templateOf(tokenizer, `${image_token}\n`);
  return { process, pixels: processor.pixels, encode, batch, apply_chat_template, image_token, stop: [] };
}

function llavaProcessor(tokenizer: Tokenizer, { process, batch, ...kind }: LlavaKind): LlavaProcessor {
  const prepare = async (image: ImageInput, name = 'image') =>
    process(await load_image(image, name), nameOf(image, name));
  const call = async (inputs: LlavaProcessorInputs) => {
    checkOptions(
      'LlavaProcessor',
      inputs,
      "{ text: 'USER: <image>\\nWhat is it? ASSISTANT:', images: 'a.png' }",
      'inputs',
    );
    const { text, images = [], ...options } = inputs;
    const texts = typeof text === 'string' ? [text] : text;
    if (!Array.isArray(texts) || texts.some((one) => typeof one !== 'string'))
      throw new UserError(`[LlavaProcessor] text: got ${describe(text)}, want texts`);
    const list = (Array.isArray(images) ? images : [images]) as readonly ImageInput[];
    const pictures: LlavaPicture[] = [];
    for (const [i, image] of list.entries()) pictures.push(await prepare(image, `picture ${i + 1}`));
    return { ...batch(texts, pictures, options), ...(pictures.length > 0 && pixelsOf(pictures)) };
  };
  return Object.assign(call, { tokenizer, prepare, ...kind });
}

export const LlavaProcessor = { from_pretrained: loadLlavaProcessor };
