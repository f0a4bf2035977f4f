// Between pictures and latents: sizes, encoding, decoding.
import { run } from '../../exec/run.ts';
import { UserError } from '../../io/error.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Parts } from './parts.ts';

export type Size = { height?: number | undefined; width?: number | undefined };

const scaleOf = ({ vae }: Parts): number => vae.config.scaling_factor ?? 0.18215;

/** Sides of a picture must be multiples of this. */
export const stepOf = ({ vae }: Pick<Parts, 'vae'>): number => Math.max(8, vae.factor);

/** [h, w] of the latents of a picture: by default of the size that the U-Net was trained on. */
export function latentSize(parts: Parts, size: Size): [number, number] {
  const { unet, vae } = parts;
  const [own, ...other] = [unet.config.sample_size ?? 64].flat() as number[];
  const standard = { height: own! * vae.factor, width: (other[0] ?? own!) * vae.factor };
  const sides = (['height', 'width'] as const).map((name) => {
    const value = size[name] ?? standard[name];
    const step = stepOf(parts);
    if (Number.isInteger(value) && value > 0 && value % step === 0) return value / vae.factor;
    const near = Math.max(step, Math.round(value / step) * step) || standard[name];
    throw new UserError(`[${name}] got ${value}, want a multiple of ${step}: ${near} is the nearest`);
  });
  return sides as [number, number];
}

/** The distribution of the latents of pictures [B, 3, H, W] in -1..1, as the U-Net knows them. */
export function encodePicture(parts: Parts, picture: Tensor) {
  const { mean, sample } = parts.vae.encode(picture);
  const scale = scaleOf(parts);
  return { mean: mean.mul(scale), sample: (noise: Tensor) => sample(noise).mul(scale) };
}

/** Latents [B, Z, h, w] to pictures [B, 3, H, W] of about -1..1, one after the other: a decoder takes far more memory than latents. */
export async function decodeLatents(parts: Parts, latents: Tensor, signal?: AbortSignal): Promise<Tensor[]> {
  const pictures: Tensor[] = [];
  try {
    for (const row of latents.split(1)) {
      const picture = parts.vae.decode(row.div(scaleOf(parts))).contiguous();
      await run([picture], { signal });
      pictures.push(picture);
    }
    return pictures;
  } catch (error) {
    for (const picture of pictures) picture.dispose();
    throw error;
  }
}
