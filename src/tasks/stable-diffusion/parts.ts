// A Stable Diffusion as diffusers keeps it: a folder with model_index.json and a folder for each part.
import { UserError } from '../../io/error.ts';
import { isObject, parseObject } from '../../io/json.ts';
import { locate, type ModelSource } from '../../io/locate.ts';
import type { FromPretrained } from '../../io/pretrained.ts';
import type { Folder } from '../../io/source.ts';
import { loadTokenizer, type Tokenizer } from '../../io/tokenizer.ts';
import { AutoencoderKL } from '../../models/autoencoder-kl.ts';
import { CLIPTextModel } from '../../models/clip.ts';
import { UNet2DConditionModel } from '../../models/unet-2d-condition.ts';
import { schedulerOf } from '../schedulers/index.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';

type Loaded<C extends { from_pretrained(...args: never[]): Promise<unknown> }> = Awaited<
  ReturnType<C['from_pretrained']>
>;

export type Parts = {
  name: string;
  /** model_index.json. */
  config: Record<string, unknown>;
  unet: Loaded<typeof UNet2DConditionModel>;
  vae: Loaded<typeof AutoencoderKL>;
  text_encoder: Loaded<typeof CLIPTextModel>;
  tokenizer: Tokenizer;
  scheduler: Scheduler;
};

/** The models, by the names of their folders. */
const MODELS = { unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel };
const CLASSES = { unet: 'UNet2DConditionModel', vae: 'AutoencoderKL', text_encoder: 'CLIPTextModel' };
type Models = Pick<Parts, keyof typeof MODELS>;
const INDEX = 'model_index.json';
const FILE = 'scheduler_config.json';

async function json(folder: Folder, file: string, where: string): Promise<Record<string, unknown>> {
  const text = await folder.text(file);
  if (text === undefined) throw new UserError(`[${where}] no ${file}: want a folder that diffusers saved, or its id`);
  return parseObject(text, file);
}

/** Throws unless model_index.json names the classes that are here for all parts. */
function checkIndex(index: Record<string, unknown>, where: string): void {
  for (const [part, name] of Object.entries(CLASSES)) {
    const [, got] = Array.isArray(index[part]) ? (index[part] as unknown[]) : [];
    if (got !== name) {
      throw new UserError(`[${where}] ${INDEX}, ${part}: got ${JSON.stringify(got) ?? 'none'}, want ${name}`);
    }
  }
}

/** Of `dtype: { unet: 'q8', default: 'f16' }` what is said of one part. */
function typesOf(dtype: FromPretrained['dtype'], part: string): FromPretrained['dtype'] {
  if (!isObject(dtype)) return dtype;
  const own = Object.entries(dtype).flatMap(([name, type]) => {
    if (name === 'default') return [[name, type]];
    if (name === part) return [['default', type]];
    return name.startsWith(`${part}.`) ? [[name.slice(part.length + 1), type]] : [];
  });
  return Object.fromEntries([...own.filter(([name]) => name === 'default'), ...own]);
}

/** Configs of old checkpoints lack two settings that their models were trained with; diffusers puts them right, too. */
function corrected(scheduler: Scheduler): Scheduler {
  const { steps_offset, clip_sample } = scheduler.config as { steps_offset?: number; clip_sample?: boolean };
  const isRight = (steps_offset ?? 1) === 1 && !clip_sample;
  return isRight ? scheduler : schedulerOf({ ...scheduler.config, steps_offset: 1, clip_sample: false });
}

/** Loads all parts, or none. */
export async function loadParts(from: ModelSource, options: FromPretrained = {}): Promise<Parts> {
  const { folder } = await locate(from, options);
  const config = await json(folder, INDEX, folder.name);
  checkIndex(config, folder.name);
  const { subfolder: _, ...rest } = options;
  const scheduler = corrected(schedulerOf(await json(folder.at('scheduler'), FILE, `${folder.name}/scheduler`)));
  const tokenizer = await loadTokenizer(folder.at('tokenizer'));
  const models: Partial<Models> = {};
  try {
    for (const part of Object.keys(MODELS) as (keyof Models)[]) {
      const { from_pretrained } = MODELS[part];
      const own = { ...rest, dtype: typesOf(options.dtype, part) };
      Object.assign(models, { [part]: await from_pretrained(folder.at(part), own) });
    }
  } catch (error) {
    for (const model of Object.values(models)) model.dispose();
    throw error;
  }
  return { name: folder.name, config, tokenizer, scheduler, ...(models as Models) };
}

export function disposeParts({ unet, vae, text_encoder }: Models): void {
  for (const model of [unet, vae, text_encoder]) model.dispose();
}
