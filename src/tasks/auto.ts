// The class that a folder asks for, by the `model_type` of its config.json.
import { type CheckpointOptions, openCheckpoint } from '../io/checkpoint.ts';
import { UserError } from '../io/error.ts';
import { parseObject } from '../io/json.ts';
import { viewCheckpoint } from '../io/layouts/index.ts';
import { locate, lookUp, type ModelSource, type SourceOptions } from '../io/locate.ts';
import type { Config, FromPretrained } from '../io/pretrained.ts';
import type { Folder } from '../io/source.ts';
import { loadTokenizer, type Tokenizer } from '../io/tokenizer.ts';
import { CLIPModel, CLIPVisionModel } from '../models/clip.ts';
import { LlamaForCausalLM } from '../models/llama.ts';
import { LlavaForConditionalGeneration as Llava } from '../models/llava.ts';
import { MistralForCausalLM } from '../models/mistral.ts';
import { SiglipModel, SiglipVisionModel } from '../models/siglip.ts';
import { tensor } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { CausalLM } from './decoder.ts';
import { type Generative, generative } from './generate.ts';
import { type ImageProcessor, imageProcessor, type PixelValues } from './image-processor.ts';
import { type ImageInput, load_image, nameOf } from './load-image.ts';

export type { ModelSource };

/** Pictures to model inputs: f32 [pictures, 3, H, W]. `names` are what errors call pictures without a name. */
export type Processor = (
  images: ImageInput | readonly ImageInput[],
  names?: readonly string[],
) => Promise<{ pixel_values: Tensor }>;

const MODELS = { clip: CLIPModel, siglip: SiglipModel };
export type ModelType = keyof typeof MODELS;

/** What looks at pictures alone. */
export const VISION = {
  clip: CLIPVisionModel,
  clip_vision_model: CLIPVisionModel,
  siglip: SiglipVisionModel,
  siglip_vision_model: SiglipVisionModel,
};

/** What continues a text. */
export const CAUSAL_LM = { llama: LlamaForCausalLM, mistral: MistralForCausalLM };
/** What answers texts with pictures in them. */
export const IMAGE_TEXT_TO_TEXT = { llava: Llava };

/** Classes by the `model_type` that they run. */
export type Classes = Record<string, { from_pretrained(from: ModelSource, options: FromPretrained): Promise<unknown> }>;
type AnyOf<C extends Classes> = Awaited<ReturnType<C[keyof C]['from_pretrained']>>;

/** The kind of model that a config.json asks for. */
function modelTypeOf<C extends object>(classes: C, config: Config | undefined, where: string): keyof C & string {
  const kind = config?.model_type;
  if (typeof kind === 'string' && Object.hasOwn(classes, kind)) return kind as keyof C & string;
  const got = config ? `model_type ${JSON.stringify(kind) ?? 'missing'}` : 'no config.json';
  const want = Object.keys(classes).join(', ');
  throw new UserError(`[${where}] not a model that can be used here: got ${got}, want one of ${want}`);
}

const ALL = { ...MODELS, ...CAUSAL_LM, ...IMAGE_TEXT_TO_TEXT };
/** The class of a config with its `model_type`. */
export function modelOf(config: Config, where: string) {
  const model_type = modelTypeOf(ALL, config, where);
  return { model_type, ...ALL[model_type] };
}

/**
 * The `model_type` of a checkpoint and its config.json as transformers has it today, whatever names the files use. Reads
 * headers only. Throws a UserError when it is no checkpoint, or none of the classes (by default AutoModel's) runs it.
 */
export function identify(
  from: ModelSource,
  options?: CheckpointOptions,
): Promise<{ model_type: ModelType; config: Config }>;
export function identify<C extends Classes>(
  from: ModelSource,
  options: CheckpointOptions,
  classes: C,
): Promise<{ model_type: keyof C & string; config: Config }>;
export async function identify(from: ModelSource, options: CheckpointOptions = {}, classes: Classes = MODELS) {
  const checkpoint = await openCheckpoint(from, options);
  try {
    const { config } = await viewCheckpoint(checkpoint);
    return { model_type: modelTypeOf(classes, config, checkpoint.name), config: config as Config };
  } finally {
    await checkpoint.close();
  }
}

const auto = <C extends Classes>(classes: C) => ({
  /** The model of a folder or an id with its weights, as the class of its `model_type` gives it. */
  async from_pretrained(source: ModelSource, options: FromPretrained = {}): Promise<AnyOf<C>> {
    const from = await lookUp(source, options);
    const { model_type } = await identify(from, options, classes);
    return classes[model_type]!.from_pretrained(from, options) as Promise<AnyOf<C>>;
  },
});
export const AutoModel = auto(MODELS);
/** The tower that looks at pictures, also of a checkpoint with both towers. */
export const AutoModelForImageFeatureExtraction = auto(VISION);

type LanguageModel<C extends Classes> = Extract<AnyOf<C>, CausalLM>;
const writer = <C extends Classes>(classes: C) => ({
  async from_pretrained(source: ModelSource, options: FromPretrained = {}): Promise<Generative<LanguageModel<C>>> {
    const from = await lookUp(source, options);
    return generative((await auto(classes).from_pretrained(from, options)) as LanguageModel<C>, from, options);
  },
});
/** A language model; it has `generate`. */
export const AutoModelForCausalLM = writer(CAUSAL_LM);
/** The same of a model that sees pictures. */
export const AutoModelForImageTextToText = writer(IMAGE_TEXT_TO_TEXT);
export const LlavaForConditionalGeneration = { ...Llava, ...AutoModelForImageTextToText };

export const AutoTokenizer = {
  from_pretrained: async (from: ModelSource, options: SourceOptions = {}): Promise<Tokenizer> =>
    loadTokenizer((await locate(from, options)).folder),
};

/** The image processor of a folder or an id, from preprocessor_config.json or transformers 5's processor_config.json. */
export async function loadImageProcessor(from: ModelSource, options: SourceOptions = {}): Promise<ImageProcessor> {
  const { folder } = await locate(from, options);
  const found = await findImageProcessor(folder);
  if (!found) throw new UserError(`[${folder.name}] no preprocessor_config.json: want it beside the weights`);
  return found;
}

export async function findImageProcessor(folder: Folder): Promise<ImageProcessor | undefined> {
  for (const name of ['preprocessor_config.json', 'processor_config.json']) {
    const text = await folder.text(name);
    if (text !== undefined) return imageProcessor(parseObject(text, name), name);
  }
  return undefined;
}

export const AutoProcessor = {
  /** As `loadImageProcessor`, for pictures in every form. */
  from_pretrained: async (from: ModelSource, options: SourceOptions = {}): Promise<Processor> =>
    processor(await loadImageProcessor(from, options)),
};

function processor(prepare: ImageProcessor): Processor {
  return async (images, names = []) => {
    const list: readonly ImageInput[] = Array.isArray(images) ? images : [images as ImageInput];
    const pictures: PixelValues[] = [];
    for (const [i, image] of list.entries()) {
      const name = nameOf(image, names[i] ?? 'image');
      pictures.push(prepare(await load_image(image, name), name));
    }
    return { pixel_values: stack(pictures) };
  };
}

/** f32 [pictures, 3, H, W]. */
export function stack(pictures: readonly PixelValues[]): Tensor {
  const [first] = pictures;
  if (!first) throw new UserError('[processor] no pictures: want at least one');
  const data = new Float32Array(pictures.length * first.data.length);
  for (const [i, picture] of pictures.entries()) data.set(picture.data, i * first.data.length);
  return tensor(data, [pictures.length, ...first.shape]);
}
