// What the commands that make pictures share: their options, a pipeline with its adapters, the live view, the files.
import process from 'node:process';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Pixels } from '../io/pixels.ts';
import { Generator } from '../tasks/generator.ts';
import { Picture } from '../tasks/picture.ts';
import { SCHEDULERS, schedulerNamed } from '../tasks/schedulers/index.ts';
import { shipped } from '../tasks/shipped.ts';
import { openPipeline } from '../tasks/stable-diffusion/parts.ts';
import { type DiffusionStep, type Pipeline, StableDiffusionPipeline } from '../tasks/stable-diffusion/pipelines.ts';
import { type Loaded, withLoaded } from './loaded.ts';
import { settingsIn } from './notes.ts';
import {
  amount,
  count,
  type DeviceOptions,
  type HubOptions,
  share,
  side,
  whole,
  withDevice,
  withHub,
} from './options.ts';
import { complain, print, printJson } from './output.ts';
import { countingBar } from './progress.ts';
import { seconds } from './table.ts';
import { beside, paint, terminalOf } from './terminal.ts';
import { visible } from './text.ts';

export type DiffusionArguments = DeviceOptions &
  HubOptions & {
    model?: string;
    config?: string;
    lora: { file: string; weight: number }[];
    output: string;
    negative?: string;
    steps: number;
    guidance?: number;
    rescale: number;
    eta: number;
    scheduler?: string;
    seed?: number;
    rng: 'philox' | 'torch';
    clipSkip: number;
    vaeTiling?: boolean;
    width?: number;
    height?: number;
    count: number;
    grid?: boolean;
    like?: string;
  };

export const VAE_TILING = [
  '--vae-tiling',
  'large pictures go through the autoencoder in tiles, with less memory',
] as const;

/** `file:0.8`; a weight of 1 where none is said. */
function lora(text: string, before: DiffusionArguments['lora'] = []): DiffusionArguments['lora'] {
  const [, file, weight] = /^(.+?)(?::(-?\d*\.?\d+(?:e[+-]?\d+)?))?$/i.exec(text) ?? [];
  if (!file) throw new InvalidArgumentError('Want a file, or file:0.8.');
  return [...before, { file, weight: weight === undefined ? 1 : Number(weight) }];
}

/** The options of a command that loads a Stable Diffusion and takes steps with it. */
export function withDiffusion(command: Command): Command {
  command
    .option(
      '--model <model>',
      'a diffusers folder, a single .safetensors file or an id of the hub (default: the tessera-diffusion that ships)',
    )
    .option('--config <model>', 'for a single file: the folder or id that its configs and tokenizer are taken from')
    .option('--lora <file[:weight]>', 'a LoRA beside the weights; may be said several times', lora, [])
    .option('--negative <text>', 'what must not be seen')
    .option('--steps <n>', 'steps', count, 20)
    .option('--guidance <x>', 'how strictly the prompt is followed (default: 7.5; 3 with the shipped model)', amount)
    .option('--rescale <x>', 'share of the guidance that is taken back where it overdoes', share, 0)
    .option('--eta <x>', "DDIM's share of new noise in each step", share, 0)
    .addOption(new Option('--scheduler <name>', "how the steps go (default: the model's own)").choices(SCHEDULERS))
    .option('--seed <n>', 'of the noise (default: at random, and told)', whole(0))
    .addOption(
      new Option('--rng <name>', "torch draws a seed's noise as diffusers does on a CPU")
        .choices(['philox', 'torch'])
        .default('philox'),
    )
    .option('--clip-skip <n>', 'layers of the text encoder that are left out at its end', whole(0), 0)
    .option(...VAE_TILING)
    .option('--width <n>', 'pixels, a multiple of 8', side)
    .option('--height <n>', 'pixels, a multiple of 8', side);
  return withDevice(withHub(command));
}

/** What belongs to the machine and the moment: not to be taken from another picture. */
const NOT_REPEATED = ['output', 'like', 'json', 'trace', 'adapter', 'debug', 'count', 'grid'];

/** The options of a command, those of the picture `--like` below the ones that were given. */
export async function repeated<T extends DiffusionArguments>(
  options: T,
  command: Command,
): Promise<{ prompt?: string; options: T }> {
  if (options.like === undefined) return { options };
  const { prompt, options: saved } = await settingsIn(options.like, command, NOT_REPEATED);
  return { ...(prompt !== undefined && { prompt }), options: { ...options, ...saved } };
}

const guidanceOf = ({ guidance, model }: DiffusionArguments) => guidance ?? (model === undefined ? 3 : 7.5);

/** The options that all pipelines take, by diffusers' names. */
export function callOptions(options: DiffusionArguments, seed: number) {
  const { negative, steps, rescale, eta, clipSkip, width, height, rng } = options;
  return {
    ...{ negative_prompt: negative, num_inference_steps: steps, guidance_rescale: rescale, eta, clip_skip: clipSkip },
    ...{ guidance_scale: guidanceOf(options), width, height },
    ...{ generator: new Generator(seed, { algorithm: rng }), on_warning: complain },
  };
}

export type Opened = Loaded<Pipeline>;

/** Runs `work` with a pipeline on the device asked for, its adapters and scheduler set. */
export async function withPipeline(
  options: DeviceOptions &
    HubOptions &
    Pick<DiffusionArguments, 'model' | 'config' | 'lora' | 'scheduler' | 'vaeTiling'>,
  work: (opened: Opened) => Promise<void>,
): Promise<void> {
  const { lora: loras, scheduler, config } = options;
  const path = options.model ?? (await shipped('tessera-diffusion'));
  const open = async (...[from, source]: Parameters<typeof StableDiffusionPipeline.from_pretrained>) => {
    const pipe = await StableDiffusionPipeline.from_pretrained(from, { ...source, config });
    if (options.vaeTiling) pipe.enable_vae_tiling();
    if (scheduler) pipe.scheduler = schedulerNamed(scheduler, pipe.scheduler.config);
    for (const [i, { file }] of loras.entries()) {
      const unused = await pipe.load_lora_weights(file, { adapter_name: `${i}` });
      if (unused.length > 0)
        complain(`${unused.length} tensors of ${file} are not used: ${unused.slice(0, 3).join(', ')}`);
    }
    if (loras.length > 0)
      pipe.set_adapters(
        loras.map((_, i) => `${i}`),
        loras.map(({ weight }) => weight),
      );
    return pipe;
  };
  await withLoaded(path, options, open as never, work, (from, source) => openPipeline(from, { ...source, config }));
}

/** Shows on stderr how a picture comes to be: the picture itself where the terminal can, else a bar. */
export async function watch(
  steps: AsyncGenerator<DiffusionStep>,
  what: string,
): Promise<{ images: Picture[]; steps: number }> {
  const terminal = terminalOf(process.stderr, process.env);
  const bar = terminal.pictures === 'none' ? await countingBar(what) : undefined;
  let lines = 0;
  try {
    for await (const { step, steps: all, preview, images } of steps) {
      if (images) return { images, steps: all };
      bar?.at(step, all);
      if (!preview || terminal.pictures === 'none') continue;
      const text = await beside(preview, [paint(terminal, 'bold', what), `step ${step} of ${all}`], terminal);
      process.stderr.write(`${lines > 0 ? `\x1b[${lines}A\r` : ''}${text}\n`);
      lines = text.split('\n').length;
    }
  } finally {
    bar?.stop();
    if (lines > 0) process.stderr.write(`\x1b[${lines}A\r\x1b[J`);
  }
  throw new Error('[pipeline] ended without a picture');
}

/** What other programs read in a PNG of Stable Diffusion. */
function parametersOf(prompt: string, options: DiffusionArguments, seed: number, { width, height }: Pixels): string {
  const { negative, steps, model } = options;
  const list = [
    `Steps: ${steps}`,
    `CFG scale: ${guidanceOf(options)}`,
    `Seed: ${seed}`,
    `Size: ${width}x${height}`,
    `Model: ${model ?? 'tessera-diffusion'}`,
  ];
  return [prompt, ...(negative ? [`Negative prompt: ${negative}`] : []), list.join(', ')].join('\n');
}

/** With the settings that make it again. */
export function signed(
  picture: Picture,
  command: string,
  prompt: string,
  options: DiffusionArguments,
  seed: number,
  more: object = {},
): Picture {
  const kept = Object.entries({ ...options, seed, count: 1 }).filter(
    ([name, value]) => !NOT_REPEATED.includes(name) && value !== undefined,
  );
  const parameters = parametersOf(prompt, options, seed, picture);
  return new Picture(picture, { command, prompt, options: Object.fromEntries(kept), ...more, parameters });
}

export type Report = {
  command: string;
  opened: Opened;
  prompt: string;
  seeds: number[];
  paths: string[];
  ms: number;
  steps: number;
};

/** What came of it, for people or for programs. */
export function report(
  { command, opened, prompt, seeds, paths, ms, steps }: Report,
  options: DiffusionArguments,
): void {
  const { about, where, load } = opened;
  const time_ms = { load: Math.round(load), run: Math.round(ms) };
  if (options.json) {
    printJson({ command, ...about, prompt, seeds, files: paths, steps, time_ms });
    return;
  }
  const terminal = terminalOf(process.stdout, process.env);
  for (const file of paths) print(visible(file));
  if (terminal.colour) {
    const times = `${seconds(ms)} for ${steps} steps`;
    print(paint(terminal, 'dim', `seed ${seeds.join(', ')}, ${times}, on ${where}`));
  }
}

type Sides = { width?: number | undefined; height?: number | undefined };

/** The size asked for; else the picture's own, made smaller where it has more pixels than the model was trained on. */
export function sizeFor(
  { width, height }: { width: number; height: number },
  { unet, vae }: Opened['task']['components'],
  asked: Sides,
): Sides {
  if (asked.width !== undefined || asked.height !== undefined) return { width: asked.width, height: asked.height };
  const sides = [unet.config.sample_size ?? 64].flat() as number[];
  const trained = sides[0]! * sides.at(-1)! * vae.factor ** 2;
  const factor = Math.min(1, Math.sqrt(trained / (width * height)));
  const step = Math.max(8, vae.factor);
  const near = (side: number) => Math.max(step, Math.round((side * factor) / step) * step);
  return { width: near(width), height: near(height) };
}
