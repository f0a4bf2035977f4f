// A run of any of the pipelines: prompts, guidance, steps; what it begins with is the pipeline's.
import { run } from '../../exec/run.ts';
import { UserError } from '../../io/error.ts';
import { concat } from '../../ops/index.ts';
import { checkOptions } from '../../tensor/check.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { Generator } from '../generator.ts';
import { schedulerOf } from '../schedulers/index.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import { type Denoised, denoise, isGuided, type Random } from './denoise.ts';
import type { Parts } from './parts.ts';
import { encodePrompts, type PromptOptions } from './prompt.ts';
import type { Setting, Start } from './starts.ts';

/** Names and defaults are those of diffusers. */
export type RunOptions = PromptOptions & {
  /** What must not be seen: for all prompts, or for each. */
  negative_prompt?: string | readonly string[] | null | undefined;
  num_inference_steps?: number | undefined;
  /** How strictly the prompt is followed; up to 1 it is not compared with the negative prompt, which saves half the work. */
  guidance_scale?: number | undefined;
  /** Share of the guidance's contrast that is taken back (arXiv:2305.08891); 0 to 1. */
  guidance_rescale?: number | undefined;
  num_images_per_prompt?: number | undefined;
  /** DDIM's share of new noise in each step. */
  eta?: number | undefined;
  /** Of the noise; by default at random, and told with the result. */
  seed?: number | undefined;
  generator?: Random | undefined;
  /** Embeddings [prompts, L, D] in the place of texts. */
  prompt_embeds?: Tensor | undefined;
  negative_prompt_embeds?: Tensor | undefined;
};

/** What a run ends with. */
export type Finished = {
  /** [B, Z, h, w]; the caller's own. */
  latents: Tensor;
  seed: number | undefined;
  image_latents: Tensor | undefined;
};

const listOf = (texts: string | readonly string[]): readonly string[] => (typeof texts === 'string' ? [texts] : texts);

/** Each row n times. */
const times = (t: Tensor, n: number): Tensor =>
  n === 1
    ? t
    : t
        .unsqueeze(1)
        .expand([t.shape[0]!, n, ...t.shape.slice(1)])
        .flatten(0, 1);

/** The embeddings that the U-Net gets; with guidance those of the negative prompts first. */
async function contextOf(parts: Parts, prompts: readonly string[], guided: boolean, o: RunOptions): Promise<Tensor> {
  const own: Tensor[] = [];
  const encoded = async (given: Tensor | undefined, texts: readonly string[]) => {
    if (given) return given;
    const made = await encodePrompts(parts, texts, o);
    own.push(made);
    return made;
  };
  const n = o.num_images_per_prompt ?? 1;
  try {
    const asked = await encoded(o.prompt_embeds, prompts);
    const all = [times(asked, n)];
    if (guided) {
      const given = listOf(o.negative_prompt ?? '');
      const count = asked.shape[0]!;
      if (given.length !== 1 && given.length !== count) {
        throw new UserError(`[negative_prompt] got ${given.length} for ${count} prompts, want one, or one for each`);
      }
      const rows = given.length === 1 ? new Array<string>(count).fill(given[0]!) : given;
      all.unshift(times(await encoded(o.negative_prompt_embeds, rows), n));
    }
    const context = concat(all).add(0);
    await run([context], { signal: o.signal });
    return context;
  } finally {
    for (const t of own) t.dispose();
  }
}

function numberIn(name: string, value: number, least: number, most = Number.POSITIVE_INFINITY): number {
  if (Number.isFinite(value) && value >= least && value <= most) return value;
  const range = most === Number.POSITIVE_INFINITY ? `from ${least}` : `from ${least} to ${most}`;
  throw new UserError(`[${name}] got ${value}, want a number ${range}`);
}

function checkChannels({ unet }: Parts, got: number): void {
  const { in_channels = 4, out_channels = 4 } = unet.config;
  if (got === in_channels) return;
  const hint = in_channels > out_channels ? 'an inpainting model, want StableDiffusionInpaintPipeline' : 'another VAE?';
  throw new UserError(`[unet] takes ${in_channels} channels, got ${got}: ${hint}`);
}

/** A scheduler of the same kind with a state of its own. */
export const freshScheduler = ({ config }: Scheduler): Scheduler => schedulerOf(config, config._class_name);

/** Steps of a run, one after the other. */
export async function* runOf(
  parts: Parts,
  base: Scheduler,
  prompt: string | readonly string[],
  options: RunOptions & { guidance_scale: number },
  start: (setting: Setting) => Promise<Start>,
): AsyncGenerator<Denoised, Finished> {
  checkOptions('pipeline', options, "{ negative_prompt: 'blurry' }");
  const { num_inference_steps = 50, guidance_rescale = 0, num_images_per_prompt = 1, eta = 0, signal, seed } = options;
  const prompts = listOf(prompt);
  const guidance_scale = numberIn('guidance_scale', options.guidance_scale, 0);
  numberIn('guidance_rescale', guidance_rescale, 0, 1);
  if (prompts.length === 0) throw new UserError('[prompt] got an empty list, want at least one text');
  if (!Number.isInteger(num_images_per_prompt) || num_images_per_prompt < 1) {
    throw new UserError(`[num_images_per_prompt] got ${num_images_per_prompt}, want a whole number from 1`);
  }
  const scheduler = freshScheduler(base);
  scheduler.set_timesteps(num_inference_steps);
  const own = options.generator ? undefined : new Generator(seed);
  const generator = options.generator ?? own!;
  const B = (options.prompt_embeds?.shape[0] ?? prompts.length) * num_images_per_prompt;
  const held: Tensor[] = [];
  let unfinished: Tensor[] = []; // what the caller would have got
  try {
    const { image_latents, ...begin } = await start({ parts, scheduler, generator, B, signal });
    held.push(begin.latents, ...(begin.seen ? [begin.seen] : []), ...(begin.held ?? []));
    if (image_latents) unfinished.push(image_latents);
    checkChannels(parts, begin.latents.shape[1]! + (begin.seen?.shape[1] ?? 0));
    let latents = await begin.latents.add(0).realize();
    unfinished.push(latents);
    if (begin.begin < scheduler.timesteps.length) {
      const context = await contextOf(parts, prompts, isGuided(parts, guidance_scale), options);
      held.push(context);
      const run = { ...begin, scheduler, context, guidance_scale, guidance_rescale, eta, generator, signal };
      for await (const step of denoise(parts, run)) {
        if (step.step === step.steps - 1) {
          latents.dispose();
          latents = await step.latents.add(0).realize();
          unfinished.push(latents);
        }
        yield step;
      }
    }
    unfinished = [];
    return { latents, seed: own?.seed, image_latents };
  } finally {
    for (const t of [...held, ...unfinished]) t.dispose();
  }
}
