// Pictures to what an autoencoder takes, and back. Reference: diffusers' VaeImageProcessor, with pictures as Pillow has them.
import { UserError } from '../io/error.ts';
import { overWhite, type Pixels, toRgb } from '../io/pixels.ts';
import { resize } from '../io/resize.ts';
import { tensor } from '../ops/index.ts';
import { checkOptions, checkTensors, describe } from '../tensor/check.ts';
import { show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkPixels } from './load-image.ts';
import { Picture } from './picture.ts';

type Size = { height?: number | undefined; width?: number | undefined };

export class VaeImageProcessor {
  /** Sizes are multiples of it. */
  readonly vae_scale_factor: number;

  constructor(options: { vae_scale_factor?: number } = {}) {
    checkOptions('VaeImageProcessor', options, '{ vae_scale_factor: 8 }');
    this.vae_scale_factor = options.vae_scale_factor ?? 8;
  }

  /** The size that a picture gets: the one asked for, else its own, cut down to multiples of `vae_scale_factor`. */
  get_default_height_width(image: Pixels, { height = image.height, width = image.width }: Size = {}): Required<Size> {
    const [h, w] = [height, width].map((v) => v - (v % this.vae_scale_factor));
    if (Number.isInteger(h) && Number.isInteger(w) && h! > 0 && w! > 0) return { height: h!, width: w! };
    const got = `width ${describe(width)}, height ${describe(height)}`;
    throw new UserError(`[image] size: got ${got}, want whole numbers from ${this.vae_scale_factor} on`);
  }

  /** Pictures of one size as f32 [pictures, 3, H, W] from -1 to 1; transparent parts become white. */
  preprocess(images: Pixels | readonly Pixels[], size: Size = {}): Tensor {
    return this.#stack(images, size, 3, (image) => {
      const { data } = overWhite(image);
      return (pixel, c) => Math.fround(2 * Math.fround(data[3 * pixel + c]! / 255)) - 1;
    });
  }

  /** Masks of one size as f32 [masks, 1, H, W]: 1 where a mask is at least half white, and 0. */
  preprocess_mask(masks: Pixels | readonly Pixels[], size: Size = {}): Tensor {
    return this.#stack(masks, size, 1, (mask) => {
      const { data } = toRgb(mask); // alpha is no part of a mask
      return (pixel) => {
        const [r, g, b] = [data[3 * pixel]!, data[3 * pixel + 1]!, data[3 * pixel + 2]!];
        return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16 >= 127.5 ? 1 : 0; // Pillow's grey
      };
    });
  }

  #stack(
    images: Pixels | readonly Pixels[],
    size: Size,
    channels: number,
    read: (image: Pixels) => (pixel: number, channel: number) => number,
  ): Tensor {
    checkOptions('image', size, '{ width: 512, height: 512 }', 'size');
    const given = (Array.isArray(images) ? images : [images]) as readonly Pixels[];
    if (given.length === 0) throw new UserError('[image] got no pictures, want at least one');
    const list = given.map((image) => checkPixels(image, 'image'));
    const { height, width } = this.get_default_height_width(list[0]!, size);
    const area = height * width;
    const out = new Float32Array(list.length * channels * area);
    for (const [b, image] of list.entries()) {
      const value = read(resize(image, width, height, 'lanczos'));
      for (let i = 0; i < channels * area; i++) out[b * channels * area + i] = value(i % area, Math.floor(i / area));
    }
    return tensor(out, [list.length, channels, height, width]);
  }

  /** Pictures of a tensor [pictures, 1 or 3, H, W] from -1 to 1; what is beyond is cut. `settings`: of each, or of all. */
  async postprocess(
    image: Tensor,
    settings: Readonly<Record<string, unknown>> | readonly Readonly<Record<string, unknown>>[] = {},
  ): Promise<Picture[]> {
    checkTensors('postprocess', { image });
    const [count, channels, height, width] = image.shape as [number, number, number, number];
    if (image.rank !== 4 || (channels !== 1 && channels !== 3)) {
      throw new RangeError(`[postprocess] image: got ${show(image.shape)}, want [pictures, 1 or 3, H, W]`);
    }
    using bytes = image.mul(0.5).add(0.5).maximum(0).minimum(1).mul(255);
    const values = await bytes.data();
    const area = height * width;
    return Array.from({ length: count }, (_, b) => {
      const data = new Uint8ClampedArray(area * channels); // it rounds halves to the even number, as numpy does
      for (let c = 0; c < channels; c++) {
        const plane = (b * channels + c) * area;
        for (let i = 0; i < area; i++) data[i * channels + c] = values[plane + i]!;
      }
      const pixels = { width, height, channels, data: new Uint8Array(data.buffer) };
      return new Picture(
        pixels,
        Array.isArray(settings) ? settings[b] : (settings as Readonly<Record<string, unknown>>),
      );
    });
  }
}

/** A mask [B, 1, H, W] as its latents have it: the nearest pixel of each, as torch's `interpolate` takes it. */
export function mask_latents(mask: Tensor, vae_scale_factor: number): Tensor {
  return mask.slice(2, 0, undefined, vae_scale_factor).slice(3, 0, undefined, vae_scale_factor);
}
