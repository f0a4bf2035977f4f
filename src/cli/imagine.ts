// tessera imagine, edit and inpaint: pictures from words, from pictures and words, into a mask.
import type { Command } from 'commander';
import { UserError } from '../io/error.ts';
import { freshSeed } from '../tasks/generator.ts';
import { load_image } from '../tasks/load-image.ts';
import { make_image_grid, Picture } from '../tasks/picture.ts';
import type { DiffusionStep } from '../tasks/stable-diffusion/pipelines.ts';
import { StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline } from '../tasks/stable-diffusion/pipelines.ts';
import {
  callOptions,
  type DiffusionArguments,
  type Opened,
  repeated,
  report,
  signed,
  sizeFor,
  watch,
  withDiffusion,
  withPipeline,
} from './diffusion.ts';
import { checkOutput } from './files.ts';
import { latentsIn } from './notes.ts';
import { share, whole } from './options.ts';

type Strength = DiffusionArguments & { strength: number };

const MOST = 1000; // pictures in one call

const OUTPUT = ['-o, --output <file>', 'the PNG file', 'out.png'] as const;
const LIKE = [
  '--like <file>',
  'the settings of a picture that was made here; what is said beside them counts',
] as const;

export function addImagine(program: Command): void {
  const imagineCommand = program
    .command('imagine')
    .description('A picture from words (with any Stable Diffusion 1, 2, Turbo or LCM)')
    .argument('[prompt]', 'what is to be seen')
    .option(...OUTPUT)
    .option('--count <n>', 'pictures; each has the next seed', whole(1, MOST), 1)
    .option('--grid', 'several pictures in one file')
    .option(...LIKE)
    .option('--from <file>', 'latents of tessera invert, in the place of noise');
  withDiffusion(imagineCommand)
    .addHelpText(
      'after',
      `
Examples:
  tessera imagine "a drawing of a dog on a red background" -o dog.png
  tessera imagine "a lighthouse in a storm" --model stable-diffusion-v1-5/stable-diffusion-v1-5 --variant fp16 --dtype f16
  tessera imagine "a cat" --model stabilityai/sd-turbo --steps 1 --guidance 0
  tessera imagine "a cat" --model dream.safetensors --config stable-diffusion-v1-5/stable-diffusion-v1-5 --lora style.safetensors:0.8
  tessera imagine --like dog.png --seed 8 -o another.png`,
    )
    .action(imagine);

  const editCommand = program
    .command('edit')
    .description('A picture changed by words (SDEdit)')
    .argument('<picture>', 'a PNG, JPEG or WebP file, or its address')
    .argument('[prompt]', 'what it is to show')
    .option(...OUTPUT)
    .option('--strength <x>', 'how much of it is made anew: 0 (nothing) to 1 (all)', share, 0.6)
    .option(...LIKE);
  withDiffusion(editCommand)
    .addHelpText(
      'after',
      '\nExample:\n  tessera edit photo.png "an oil painting of a lighthouse" --strength 0.6 -o painting.png',
    )
    .action(edit);

  const inpaintCommand = program
    .command('inpaint')
    .description('A part of a picture made anew by words')
    .argument('<picture>', 'a PNG, JPEG or WebP file, or its address')
    .argument('<mask>', 'a picture of the same size, white where it is made anew')
    .argument('[prompt]', 'what the picture is to show')
    .option(...OUTPUT)
    .option('--strength <x>', 'how much of that part is made anew: 0 (nothing) to 1 (all)', share, 1)
    .option(...LIKE);
  withDiffusion(inpaintCommand)
    .addHelpText('after', '\nExample:\n  tessera inpaint photo.png mask.png "a red door" -o door.png')
    .action(inpaint);
}

/** Makes the pictures of some seeds, shows how they come, saves each once it is there, and reports them. */
async function make(
  command: string,
  prompt: string | undefined,
  options: DiffusionArguments,
  more: object,
  steps: (opened: Opened, seed: number, prompt: string) => AsyncGenerator<DiffusionStep>,
): Promise<void> {
  if (prompt === undefined) throw new UserError(`[${command}] got no prompt: want some words, such as "a red apple"`);
  const { output, count = 1 } = options;
  const grid = options.grid && count > 1;
  const paths = grid || count === 1 ? [output] : numbered(output, count);
  await checkOutput(output, ['.png'], paths);
  const first = options.seed ?? freshSeed();
  const most = Number.MAX_SAFE_INTEGER + 1 - count;
  if (first > most)
    throw new UserError(`[${command}] --seed: got ${first} for ${count} pictures, want at most ${most}`);
  const seeds = Array.from({ length: count }, (_, i) => first + i);
  await withPipeline(options, async (opened) => {
    const start = performance.now();
    const pictures: Picture[] = [];
    let done = 0;
    for (const [i, seed] of seeds.entries()) {
      const what = count > 1 ? `${i + 1} of ${count}: ${prompt}` : prompt;
      const made = await watch(steps(opened, seed, prompt), what);
      const picture = signed(made.images[0]!, command, prompt, options, seed, more);
      done += made.steps;
      if (grid) pictures.push(picture);
      else await picture.save(paths[i]!);
    }
    if (grid) await new Picture(make_image_grid(pictures), pictures[0]!.settings).save(output);
    report({ command, opened, prompt, seeds, paths, ms: performance.now() - start, steps: done }, options);
  });
}

/** `out-1.png` and so on. */
const numbered = (output: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => output.replace(/(\.png)$/i, `-${i + 1}$1`));

async function imagine(given: string | undefined, asked: DiffusionArguments & { from?: string }, command: Command) {
  const { prompt, options } = await repeated(asked, command);
  const start = options.from === undefined ? undefined : await latentsIn(options.from);
  const steps = start && command.getOptionValueSource('steps') !== 'cli' ? start.steps : options.steps;
  const settings = {
    ...options,
    steps,
    scheduler: options.scheduler ?? (start ? 'ddim' : undefined),
  } as DiffusionArguments;
  await make('imagine', given ?? prompt, settings, {}, ({ task }, seed, text) => {
    const [, , h, w] = start?.latents.shape ?? [];
    const { factor } = task.components.vae;
    const own = start && { latents: start.latents, height: h! * factor, width: w! * factor };
    return task.stream(text, { ...callOptions(settings, seed), ...own });
  });
}

async function edit(picture: string, given: string | undefined, asked: Strength, command: Command) {
  const { prompt, options } = await repeated(asked, command);
  const image = await load_image(picture);
  await make('edit', given ?? prompt, options, { picture }, ({ task }, seed, text) =>
    StableDiffusionImg2ImgPipeline.from_pipe(task).stream(text, {
      ...{ ...callOptions(options, seed), ...sizeFor(image, task.components, options) },
      ...{ image, strength: options.strength },
    }),
  );
}

async function inpaint(picture: string, mask: string, given: string | undefined, asked: Strength, command: Command) {
  const { prompt, options } = await repeated(asked, command);
  const [image, mask_image] = [await load_image(picture), await load_image(mask)];
  await make('inpaint', given ?? prompt, options, { picture, mask }, ({ task }, seed, text) =>
    StableDiffusionInpaintPipeline.from_pipe(task).stream(text, {
      ...{ ...callOptions(options, seed), ...sizeFor(image, task.components, options) },
      ...{ image, mask_image, strength: options.strength },
    }),
  );
}
