// What the commands that write share: a language model, which may see pictures, and the small one that ships.
import { UserError } from '../io/error.ts';
import type { ModelSource } from '../io/locate.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import { CAUSAL_LM, type Classes, IMAGE_TEXT_TO_TEXT, identify } from '../tasks/auto.ts';
import { type ImageTextGenerator, type ImageTextInput, imageTextToText } from '../tasks/image-text-to-text.ts';
import type { Session } from '../tasks/session.ts';
import { shipped } from '../tasks/shipped.ts';
import { type TextGenerator, textGeneration } from '../tasks/text-generation.ts';
import { type Loaded, withLoaded } from './loaded.ts';
import type { DeviceOptions, HubOptions } from './options.ts';
import { complain } from './output.ts';

export const WRITERS = { ...CAUSAL_LM, ...IMAGE_TEXT_TO_TEXT };
export type Writer = TextGenerator | ImageTextGenerator;

/** A model that writes, by its config. */
export async function openWriter(from: ModelSource, source: FromPretrained): Promise<Writer> {
  const { model_type } = await identify(from, source, WRITERS);
  return Object.hasOwn(IMAGE_TEXT_TO_TEXT, model_type) ? imageTextToText(from, source) : textGeneration(from, source);
}

export const sees = (task: Writer): task is ImageTextGenerator => 'processor' in task;

/** A conversation with either; one that sees none is given no pictures. */
export const sessionOf = (task: Writer) => task.session() as Session<ImageTextInput>;

const SHIPPED = 'tessera-llava';
export const DEFAULT = `a folder, or an id of the Hugging Face hub (${SHIPPED}, which ships and knows drawings only)`;

/** The model asked for, or the one that ships, which is said. */
export async function writerOf({ model, json }: Pick<DeviceOptions, 'json'> & { model?: string }): Promise<string> {
  if (model !== undefined) return model;
  const path = await shipped(SHIPPED).catch(() => {
    throw new UserError(`[${SHIPPED}] no model is named, and the small one is not beside the code here: want --model`);
  });
  if (!json)
    complain(`${SHIPPED}, the small model that ships: it knows a drawn world of 200 things, and no photographs`);
  return path;
}

/** Runs `work` with the model asked for, or the one that ships; afterwards nothing of it is left on the device. */
export async function withWriter(
  options: DeviceOptions & HubOptions & { model?: string },
  work: (loaded: Loaded<Writer>) => Promise<void>,
  classes: Classes = WRITERS,
): Promise<void> {
  await withLoaded(await writerOf(options), options, openWriter, work, classes);
}

/** The same with a model that sees. */
export const withSeer = (
  options: DeviceOptions & HubOptions & { model?: string },
  work: (loaded: Loaded<ImageTextGenerator>) => Promise<void>,
) => withWriter(options, (loaded) => work(loaded as Loaded<ImageTextGenerator>), IMAGE_TEXT_TO_TEXT);
