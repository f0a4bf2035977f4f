// What files that were made here say of themselves. They may come from anywhere, so all of it is checked as if it were typed.
import { type Command, InvalidArgumentError, type Option } from 'commander';
import { UserError } from '../io/error.ts';
import { isObject, parseObject } from '../io/json.ts';
import { readHeader } from '../io/safetensors.ts';
import { fromPath } from '../io/source.ts';
import { tensor } from '../ops/index.ts';
import { readPath } from '../tasks/load-image.ts';
import { settingsOf } from '../tasks/picture.ts';
import { describe } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Of a file of `tessera invert`: its tensor, and what is noted in its header. */
export const LATENTS = 'latents';
export const NOTES = 'tessera';

/** The prompt and the options in a picture, without those of `except` and those that were given to the command itself. */
export async function settingsIn(
  file: string,
  command: Command,
  except: readonly string[],
): Promise<{ prompt?: string; options: Record<string, unknown> }> {
  const png = new Uint8Array(await (await readPath(file)).arrayBuffer());
  const { command: maker, prompt, options = {} } = await settingsOf(png, file);
  if (maker !== command.name()) {
    const got = typeof maker === 'string' ? JSON.stringify(maker) : 'something else';
    throw new UserError(`[${file}] was made by ${got}, want tessera ${command.name()}`);
  }
  if (prompt !== undefined && typeof prompt !== 'string') throw wrong(file, 'prompt', prompt, 'want a text');
  if (!isObject(options)) throw wrong(file, 'options', options, 'want an object');
  const read = Object.entries(options)
    .filter(([name]) => !except.includes(name) && command.getOptionValueSource(name) !== 'cli')
    .map(([name, value]) => [name, asTyped(file, command, name, value)] as const);
  return { ...(prompt !== undefined && { prompt }), options: Object.fromEntries(read) };
}

const wrong = (file: string, name: string, value: unknown, want: string) =>
  new UserError(`[${file}] in its settings, ${name}: got ${describe(value)}, ${want}`);

/** A value that was saved, as the command line reads it. */
function asTyped(file: string, command: Command, name: string, value: unknown): unknown {
  const option = command.options.find((one) => one.attributeName() === name);
  if (!option) throw wrong(file, name, value, 'which is no option here: was it made by another version?');
  if (option.isBoolean() && value === true) return true;
  const isList = Array.isArray(option.defaultValue);
  const texts = isList ? listOf(value)?.map(textOf) : [textOf(value)];
  const want = option.isBoolean() ? 'want true' : 'want a value';
  if (option.isBoolean() || !texts?.every((text) => text !== undefined)) throw wrong(file, name, value, want);
  try {
    return texts.reduce((before: unknown, text) => parse(option, text!, before), undefined) ?? option.defaultValue;
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw wrong(file, name, value, error.message.replace(/^Want/, 'want'));
    throw error;
  }
}

const parse = ({ parseArg }: Option, text: string, before: unknown): unknown =>
  parseArg ? (parseArg as (text: string, before: unknown) => unknown)(text, before) : text;
const listOf = (value: unknown) => (Array.isArray(value) ? (value as unknown[]) : undefined);

/** As it would be typed; `{ file, weight }` is an adapter. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  if (isObject(value) && typeof value.file === 'string' && typeof value.weight === 'number')
    return `${value.file}:${value.weight}`;
  return undefined;
}

/** What `tessera invert` wrote, and in how many steps. */
export async function latentsIn(file: string): Promise<{ latents: Tensor; steps: number }> {
  const source = await fromPath(file);
  try {
    const { tensors, metadata } = await readHeader(source);
    const info = tensors.get(LATENTS);
    if (info?.dtype !== 'F32' || info.shape.length !== 4 || info.end === info.begin) {
      throw new UserError(`[${file}] no latents in it: want a file of tessera invert`);
    }
    const { steps = 20 } = parseObject(metadata.get(NOTES) ?? '{}', `${file}, ${NOTES}`);
    if (!Number.isInteger(steps) || (steps as number) < 1) {
      throw new UserError(`[${file}] ${NOTES}, steps: got ${describe(steps)}, want a whole number from 1`);
    }
    const bytes = await source.read(info.begin, info.end - info.begin);
    return { latents: tensor(new Float32Array(bytes.slice().buffer), info.shape), steps: steps as number };
  } finally {
    await source.close?.();
  }
}
