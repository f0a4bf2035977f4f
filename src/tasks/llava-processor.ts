// What LLaVA's language model is given for texts and pictures. Reference: transformers' LlavaProcessor.
import { UserError } from '../io/error.ts';
import { parseObject } from '../io/json.ts';
import { locate, type ModelSource, type SourceOptions } from '../io/locate.ts';
import type { Config } from '../io/pretrained.ts';
import { type BatchOptions, loadTokenizer, type Tokenizer } from '../io/tokenizer.ts';
import { checkOptions, describe } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { loadImageProcessor, stack } from './auto.ts';
import type { ImageProcessor, PixelValues } from './image-processor.ts';
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
  }>;
  tokenizer: Tokenizer;
  image_token: string;
  /** One picture as the tower sees it; `name` is what errors call it. */
  prepare(image: ImageInput, name?: string): Promise<PixelValues>;
  /** Texts with as many placeholders for each picture as it has tokens. Throws a UserError where their number is another. */
  expand(texts: readonly string[], pictures: readonly Pick<PixelValues, 'shape'>[]): string[];
  /** Whether a text has the token of the beginning, which is then not added. */
  beginsWithBos(text: string): boolean;
  /** Tokens of a picture. */
  size(picture: Pick<PixelValues, 'shape'>): number;
};

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
export async function loadLlavaProcessor(from: ModelSource, options: SourceOptions = {}): Promise<LlavaProcessor> {
  const { folder } = await locate(from, options);
  const read = async (name: string): Promise<Config> => {
    const text = await folder.text(name);
    return text === undefined ? {} : parseObject(text, name);
  };
  const settings = settingsOf(await read('processor_config.json'), await read('config.json'));
  return llavaProcessor(await loadTokenizer(folder), await loadImageProcessor(folder), settings);
}

function llavaProcessor(tokenizer: Tokenizer, process: ImageProcessor, settings: Settings): LlavaProcessor {
  const { patch_size, extra, image_token } = settings;
  const size = ({ shape: [, height, width] }: Pick<PixelValues, 'shape'>) =>
    Math.floor(height / patch_size) * Math.floor(width / patch_size) + extra;
  const prepare = async (image: ImageInput, name = 'image') =>
    process(await load_image(image, name), nameOf(image, name));
  const expand = (texts: readonly string[], pictures: readonly Pick<PixelValues, 'shape'>[]) => {
    const places = texts.reduce((n, text) => n + text.split(image_token).length - 1, 0);
    if (places !== pictures.length) {
      const got = `${places} ${image_token} in the text for ${pictures.length} pictures`;
      throw new UserError(`[llava] got ${got}, want one ${image_token} for each picture`);
    }
    let next = 0;
    return texts.map((text) => text.replaceAll(image_token, () => image_token.repeat(size(pictures[next++]!))));
  };
  const bos = tokenizer.bos_token_id === undefined ? undefined : tokenizer.id_to_token(tokenizer.bos_token_id);
  const beginsWithBos = (text: string) => bos !== undefined && text.startsWith(bos);
  const call = async (inputs: LlavaProcessorInputs) => {
    checkOptions(
      'LlavaProcessor',
      inputs,
      "{ text: 'USER: <image>\\nWhat is it? ASSISTANT:', images: 'a.png' }",
      'inputs',
    );
    const { text, images = [], ...options } = inputs;
    const texts = typeof text === 'string' ? [text] : text;
    if (!Array.isArray(texts)) throw new UserError(`[LlavaProcessor] text: got ${describe(text)}, want texts`);
    const list = (Array.isArray(images) ? images : [images]) as readonly ImageInput[];
    const pictures: PixelValues[] = [];
    for (const [i, image] of list.entries()) pictures.push(await prepare(image, `picture ${i + 1}`));
    const batch = tokenizer(expand(texts, pictures), options);
    return { ...batch, ...(pictures.length > 0 && { pixel_values: stack(pictures) }) };
  };
  return Object.assign(call, { tokenizer, image_token, prepare, expand, beginsWithBos, size });
}

export const LlavaProcessor = { from_pretrained: loadLlavaProcessor };
