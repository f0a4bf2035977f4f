// A Stable Diffusion as diffusers keeps it: a folder with model_index.json and a folder for each part.
import { chooseWeights } from '../../io/checkpoint.ts';
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

export type LoadParts = Omit<FromPretrained, 'config'> & {
  /** For weights in a single file: the folder or id of a pipeline of the same kind, whose configs, tokenizer and scheduler count. */
  config?: ModelSource | undefined;
};

/** The file that holds all weights, where the parts have none of their own. */
async function singleFile(folder: Folder, file: string | undefined, variant?: string): Promise<string | undefined> {
  if (file) return file;
  const own = await folder
    .at('unet')
    .list()
    .catch(() => []);
  return own.some((name) => name.endsWith('.safetensors'))
    ? undefined
    : chooseWeights(await folder.list(), folder.name, variant);
}

/** All that is known of a pipeline before its weights are read. Throws a UserError where it is none of this kind. */
export async function openPipeline(from: ModelSource, options: LoadParts = {}) {
  const { config: other, subfolder: _, ...rest } = options;
  const { folder, file: given } = await locate(from, options);
  const file = await singleFile(folder, given, options.variant);
  const base = other === undefined ? folder : (await locate(other, rest)).folder;
  if (file && other === undefined && !(await folder.text(INDEX))) {
    throw new UserError(
      `[${file}] weights alone: want { config: 'stable-diffusion-v1-5/stable-diffusion-v1-5' } too, or the folder or id of ` +
        'another pipeline of its kind, for its configs, tokenizer and scheduler',
    );
  }
  const config = await json(base, INDEX, base.name);
  checkIndex(config, base.name);
  const scheduler = corrected(schedulerOf(await json(base.at('scheduler'), FILE, `${base.name}/scheduler`)));
  const tokenizer = await loadTokenizer(base.at('tokenizer'));
  const configs: Record<string, Record<string, unknown>> = {};
  for (const part of Object.keys(MODELS)) configs[part] = await json(base.at(part), 'config.json', base.name);
  return { folder, file, config, configs, scheduler, tokenizer };
}

/** Loads all parts, or none. */
export async function loadParts(from: ModelSource, options: LoadParts = {}): Promise<Parts> {
  const { config: _, subfolder: __, ...rest } = options;
  const { folder, file, config, configs, scheduler, tokenizer } = await openPipeline(from, options);
  const models: Partial<Models> = {};
  try {
    for (const part of Object.keys(MODELS) as (keyof Models)[]) {
      const { from_pretrained } = MODELS[part];
      const own = { ...rest, dtype: typesOf(options.dtype, part), config: configs[part] };
      const model = await (file
        ? from_pretrained(folder, { ...own, file, part })
        : from_pretrained(folder.at(part), own));
      Object.assign(models, { [part]: model });
    }
  } catch (error) {
    for (const model of Object.values(models)) model.dispose();
    throw error;
  }
  return { name: folder.name, config, tokenizer, scheduler, ...(models as Models) };
}

const closed = new WeakSet<Models>();

/** Throws once the models were disposed of, by whichever of the pipelines that share them. */
export function checkOpen(parts: Models): void {
  if (closed.has(parts)) throw new Error('[pipeline] was disposed and is used again: load it again');
}

export function disposeParts(parts: Models): void {
  closed.add(parts);
  for (const part of Object.keys(MODELS) as (keyof Models)[]) parts[part].dispose();
}
