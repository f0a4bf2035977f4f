// What the pipelines differ in: the latents that a run begins with, and what happens to them between the steps.
import { run } from '../../exec/run.ts';
import { UserError } from '../../io/error.ts';
import { concat } from '../../ops/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import { mask_latents } from '../vae-image-processor.ts';
import type { Denoising, Random } from './denoise.ts';
import { encodePicture } from './latents.ts';
import type { Parts } from './parts.ts';

/** What a run has in common with all others, as far as its start needs it. */
export type Setting = {
  parts: Parts;
  scheduler: Scheduler;
  generator: Random;
  B: number;
  signal: AbortSignal | undefined;
};
export type Start = Pick<Denoising, 'latents' | 'begin' | 'seen' | 'after'> & {
  /** The latents of the picture that it began with: the caller's own. */
  image_latents?: Tensor;
  /** What `after` reads, to be disposed of behind the run. */
  held?: Tensor[];
};

/** Noise, or the latents given, as the scheduler wants its first sample. */
export async function fromNoise(
  { parts, scheduler, generator, signal }: Setting,
  shape: readonly number[],
  given?: Tensor,
): Promise<Start> {
  if (given && `${given.shape}` !== `${shape}`) {
    throw new UserError(`[latents] got [${given.shape}], want [${shape}] for these prompts and this size`);
  }
  const latents = (given ?? generator.randn(shape)).mul(scheduler.init_noise_sigma);
  await run([latents], { signal, device: await parts.unet.device.heir() }); // noise alone is on none
  return { latents, begin: 0 };
}

/** The place in the timesteps from which on a share of all steps is left. */
export function beginOf({ num_inference_steps }: Scheduler, strength: number): number {
  if (!(strength >= 0 && strength <= 1)) {
    throw new UserError(`[strength] got ${strength}, want a number from 0 (the picture itself) to 1`);
  }
  return num_inference_steps - Math.min(Math.floor(num_inference_steps * strength), num_inference_steps);
}

const repeat = (t: Tensor, B: number): Tensor => t.expand([B, ...t.shape.slice(1)]);

/** SDEdit, Meng et al. 2021, arXiv:2108.01073: a picture [1 or B, 3, H, W] of -1..1 with the noise of a timestep on it. */
export async function fromPicture(setting: Setting, picture: Tensor, strength: number): Promise<Start> {
  const { parts, scheduler, generator, B, signal } = setting;
  const begin = beginOf(scheduler, strength);
  const timestep = scheduler.timesteps[begin];
  if (timestep === undefined || strength === 0) return untouched(setting, picture);
  const { mean, sample } = encodePicture(parts, picture);
  const image_latents = repeat(sample(generator.randn(mean.shape)), B).contiguous();
  scheduler.set_begin_index(begin);
  const latents = scheduler.add_noise(image_latents, generator.randn(image_latents.shape), timestep);
  await run([image_latents, latents], { signal });
  return { latents, begin, image_latents };
}

/**
 * Inpainting: `mask` [1 or B, 1, H, W] is 1 where the picture is made anew. A U-Net of 4 channels gets what is kept back
 * behind each step, with the noise of the next; one of 9 channels sees it beside the latents. Noise is drawn in the order of
 * diffusers: of the picture's latents where they count, of the run, of the masked picture's latents (also where they do not).
 */
export async function fromMask(setting: Setting, picture: Tensor, mask: Tensor, strength: number): Promise<Start> {
  const { parts, scheduler, generator, B, signal } = setting;
  const begin = beginOf(scheduler, strength);
  const Z = parts.unet.config.out_channels ?? 4;
  const channels = parts.unet.config.in_channels ?? 4;
  const blends = channels === Z;
  if (!blends && channels !== 2 * Z + 1) {
    throw new UserError(
      `[inpaint] the U-Net takes ${channels} channels: want ${Z}, or ${2 * Z + 1} of an inpainting model`,
    );
  }
  const timestep = scheduler.timesteps[begin];
  if (timestep === undefined || strength === 0) return untouched(setting, picture);
  const [whole, masked] = [picture, picture.mul(mask.lt(0.5).to('f32'))].map((one) => encodePicture(parts, one));
  const sampled = ({ mean, sample }: NonNullable<typeof whole>) => repeat(sample(generator.randn(mean.shape)), B);
  const image_latents = blends || strength < 1 ? sampled(whole!).contiguous() : undefined;
  const noise = generator.randn([B, ...whole!.mean.shape.slice(1)]);
  const masked_latents = sampled(masked!);
  const m = repeat(mask_latents(mask, parts.vae.factor), B).contiguous();
  scheduler.set_begin_index(begin);
  const latents =
    strength === 1 ? noise.mul(scheduler.init_noise_sigma) : scheduler.add_noise(image_latents!, noise, timestep);
  const start: Start = { latents, begin, ...(image_latents && { image_latents }) };
  const all = [latents, ...(image_latents ? [image_latents] : [])];
  if (!blends) {
    const seen = concat([m, masked_latents], 1);
    await run([...all, seen], { signal });
    return { ...start, seen };
  }
  await run([...all, noise, m], { signal });
  return {
    ...start,
    held: [noise, m],
    after: (x, next) => {
      const kept = next === undefined ? image_latents! : scheduler.add_noise(image_latents!, noise, next);
      return kept.mul(m.neg().add(1)).add(x.mul(m));
    },
  };
}

/** The latents of a picture themselves, without chance: what an inversion begins with. */
export async function fromMean({ parts, B, signal }: Setting, picture: Tensor): Promise<Start> {
  const latents = repeat(encodePicture(parts, picture).mean, B).contiguous();
  const image_latents = latents.add(0);
  await run([latents, image_latents], { signal });
  return { latents, begin: 0, image_latents };
}

/** Where no step is left: the picture through the autoencoder and back, without chance. */
const untouched = async (setting: Setting, picture: Tensor): Promise<Start> => ({
  ...(await fromMean(setting, picture)),
  begin: setting.scheduler.timesteps.length,
});
