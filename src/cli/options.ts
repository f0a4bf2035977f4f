// Options and steps that the commands share.
import process from 'node:process';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { setDevice } from '../exec/run.ts';
import { formatTrace, setTrace } from '../exec/trace.ts';
import type { Device } from '../gpu/device.ts';
import { UserError } from '../io/error.ts';
import { WEIGHT_TYPES, type WeightType } from '../io/weight-type.ts';

/** From package.json, put in by the build. */
declare const TESSERA_VERSION: string;
export const version = (): string => TESSERA_VERSION;

export type DeviceOptions = {
  adapter: string;
  dtype: WeightType;
  json?: boolean;
  trace?: boolean;
  /** One that is there already, for several models. */
  device?: Device;
};

export const adapterOption = (): Option =>
  new Option('--adapter <name>', "gpu, software, or part of an adapter's name").default('auto').env('TESSERA_ADAPTER');

/** The options of a command that computes. */
export function withDevice(command: Command): Command {
  return command
    .addOption(adapterOption())
    .addOption(new Option('--dtype <type>', 'how weights are kept').choices(WEIGHT_TYPES).default('f32'))
    .option('--json', 'print one JSON document and nothing else')
    .option('--trace', 'print every kernel that runs, on stderr (also with TESSERA_TRACE=1)');
}

export type HubOptions = { revision?: string; subfolder?: string; variant?: string };

/** The options of a command that takes a model, which may be an id of the hub. */
export function withHub(command: Command): Command {
  return command
    .option('--revision <name>', 'this branch, tag or commit of a model on the Hugging Face hub')
    .option('--subfolder <path>', 'the model is in this folder of it')
    .option('--variant <name>', 'these weights of several, such as fp16');
}

export const hubOf = ({ revision, subfolder, variant }: HubOptions) => ({ revision, subfolder, variant });

/** Runs `work` on the device asked for and gives the device back. */
export async function onDevice<T>(
  { adapter, trace, device: given }: DeviceOptions,
  work: (device: Device) => Promise<T>,
): Promise<T> {
  if (given) return work(given);
  if (trace || process.env.TESSERA_TRACE === '1') setTrace((event) => process.stderr.write(`${formatTrace(event)}\n`));
  const device = await setDevice({ adapter }).catch((error: Error) => {
    if (adapter === 'auto') throw error;
    const hint = adapter === 'software' ? '' : ' Or try --adapter software.';
    throw new UserError(`${error.message}${hint}`, { cause: error });
  });
  try {
    return await work(device);
  } finally {
    device.dispose();
  }
}

/** Where a result was computed, for --json. */
export const provenance = ({ adapter }: Device, { dtype }: DeviceOptions) => ({
  version: version(),
  runtime: adapter.runtime,
  adapter,
  numerics: 'exact', // equal bits in every runtime on one adapter
  dtype,
});

/** An option that may be given many times. */
export const many = (text: string, before: readonly string[] = []): string[] => [...before, text];

/** An option's value that is a whole number, in digits. */
export const whole =
  (least: number, most?: number) =>
  (text: string): number => {
    const value = Number(text);
    const isWhole = /^\d+$/.test(text.trim()) && Number.isSafeInteger(value);
    if (isWhole && value >= least && value <= (most ?? value)) return value;
    throw new InvalidArgumentError(`Want a whole number from ${least}${most === undefined ? '' : ` to ${most}`}.`);
  };

/** An option's value that counts something. */
export const count = whole(1);

/** An option's value that is a side of a picture that is made. */
export function side(text: string): number {
  const value = whole(1, 8192)(text);
  if (value % 8 === 0) return value;
  throw new InvalidArgumentError(`Want a multiple of 8: ${Math.max(8, 8 * Math.round(value / 8))} is the nearest.`);
}

const number = (want: string, holds: (value: number) => boolean) => (text: string) => {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && holds(value)) return value;
  throw new InvalidArgumentError(`Want ${want}.`);
};

/** An option's value that is a number of at least 0. */
export const amount = number('a number from 0', (value) => value >= 0);

/** An option's value that is a share. */
export const share = number('a number from 0 to 1', (value) => value >= 0 && value <= 1);
