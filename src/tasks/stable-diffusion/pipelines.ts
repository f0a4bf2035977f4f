// The pipelines of Stable Diffusion as diffusers names them: from text, from a picture, into a mask; and DDIM inversion.
import { UserError } from '../../io/error.ts';
import type { ModelSource } from '../../io/locate.ts';
import { checkOptions } from '../../tensor/check.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { type Factors, fitFactors, preview, STABLE_DIFFUSION } from '../latent-preview.ts';
import { type ImageInput, load_image, nameOf } from '../load-image.ts';
import type { Picture } from '../picture.ts';
import { DDIMInverseScheduler } from '../schedulers/index.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import { VaeImageProcessor } from '../vae-image-processor.ts';
import { decodeLatents, latentSize, type Size, stepOf } from './latents.ts';
import { loras } from './lora.ts';
import { checkOpen, disposeParts, type LoadParts, loadParts, type Parts } from './parts.ts';
import { type Finished, type RunOptions, runOf } from './runs.ts';
import { beginOf, fromMask, fromMean, fromNoise, fromPicture, type Setting, type Start } from './starts.ts';

export type DiffusionOptions = RunOptions &
  Size & {
    /** What begins the run in the place of noise, [pictures, 4, height / 8, width / 8]. */
    latents?: Tensor | undefined;
    /** 'pil', the default: pictures. 'latent': no pictures, only `latents`. */
    output_type?: 'pil' | 'latent' | undefined;
    /** Is told of each step when it is done. */
    callback_on_step_end?: ((step: { step: number; steps: number; timestep: number }) => void) | undefined;
  };
/** A picture in any form, or f32 [1, 3, H, W] from 0 to 1. */
type Given = ImageInput | Tensor;
export type Img2ImgOptions = DiffusionOptions & {
  image: Given;
  /** 0: the picture as it is; 1: nothing of it is left. */
  strength?: number | undefined;
};
export type InpaintOptions = Img2ImgOptions & {
  /** White where the picture is made anew. */
  mask_image: Given;
};
export type InvertOptions = Omit<DiffusionOptions, 'latents'> & { image: Given };

export type DiffusionResult = {
  images: Picture[];
  /** [pictures, 4, h, w], yours to dispose of; undefined where pictures were asked for. */
  latents: Tensor | undefined;
  /** What the noise was drawn from, where no generator was given. */
  seed: number | undefined;
};
/** A step of a run; behind the last one the pictures. */
export type DiffusionStep = {
  /** Steps that are done, of `steps`. */
  step: number;
  steps: number;
  /** What the picture will be like, an eighth as large. */
  preview?: Picture;
  images?: Picture[];
};

type Prompt = string | readonly string[];

export type Pipeline<O extends DiffusionOptions = DiffusionOptions> = ((
  prompt: Prompt,
  options?: O,
) => Promise<DiffusionResult>) &
  ReturnType<typeof loras> &
  Disposable & {
    /** The same, a step at a time. */
    stream(prompt: Prompt, options?: O): AsyncGenerator<DiffusionStep, void>;
    /** Pictures larger than the autoencoder was trained on go through it in tiles: see its `enable_tiling`. */
    enable_vae_tiling(use_tiling?: boolean): void;
    disable_vae_tiling(): void;
    /** The latents from which DDIM without guidance leads back to a picture (arXiv:2105.05233, appendix F). */
    invert(prompt: Prompt, options: InvertOptions): Promise<{ latents: Tensor; image_latents: Tensor }>;
    /** Its U-Net. */
    model: Parts['unet'];
    model_type: string;
    /** The models and the rest, which other pipelines may share. */
    components: Parts;
    /** May be set to another: `pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)`. */
    scheduler: Scheduler;
    dispose(): void;
  };

/** What a pipeline begins with. */
type Begin<O> = (setting: Setting, options: O, processor: VaeImageProcessor) => Promise<Start>;
type Kind<O> = { guidance_scale: number; begin: Begin<O> };

const SD_LEVELS = '128,256,512,512';
const factors = new WeakMap<Parts['vae'], Promise<Factors>>();

/** How latents look: known of Stable Diffusion's own autoencoder, found out of others. */
function factorsOf({ vae }: Parts): Promise<Factors> {
  const known = factors.get(vae);
  if (known) return known;
  const { block_out_channels, latent_channels = 4, scaling_factor = 0.18215 } = vae.config;
  const isOwn = `${block_out_channels}` === SD_LEVELS && latent_channels === 4 && scaling_factor === 0.18215;
  const made = isOwn
    ? Promise.resolve(STABLE_DIFFUSION)
    : fitFactors(latent_channels, (latents) => vae.decode(latents.div(scaling_factor)));
  factors.set(vae, made);
  made.catch(() => factors.delete(vae)); // the next run may find room for it
  return made;
}

async function pictureOf(given: Given, name: string, processor: VaeImageProcessor, size: Size): Promise<Tensor> {
  if (given === undefined) throw new UserError(`[${name}] got none, want a picture`);
  if (given instanceof Tensor) return given.mul(2).sub(1);
  return processor.preprocess(await loadedOf(given, name), size);
}
const loadedOf = (given: ImageInput, name: string) => load_image(given, nameOf(given, name));

const fromText: Kind<DiffusionOptions> = {
  guidance_scale: 7.5,
  begin: (setting, { latents, ...size }) => {
    const Z = setting.parts.vae.config.latent_channels ?? 4;
    return fromNoise(setting, [setting.B, Z, ...latentSize(setting.parts, size)], latents);
  },
};
const fromImage: Kind<Img2ImgOptions> = {
  guidance_scale: 7.5,
  async begin(setting, { image, strength = 0.8, ...size }, processor) {
    beginOf(setting.scheduler, strength); // a mistake is told before a picture is read
    using picture = await pictureOf(image, 'image', processor, checked(setting.parts, size));
    return await fromPicture(setting, picture, strength);
  },
};
const intoMask: Kind<InpaintOptions> = {
  guidance_scale: 7.5,
  async begin(setting, { image, mask_image, strength = 1, ...size }, processor) {
    beginOf(setting.scheduler, strength);
    const own = checked(setting.parts, size);
    const loaded = image instanceof Tensor || image === undefined ? undefined : await loadedOf(image, 'image');
    using picture = await pictureOf(loaded ?? image, 'image', processor, own);
    const [height, width] = picture.shape.slice(2) as [number, number];
    using mask = await maskOf(mask_image, processor, { height, width }, loaded);
    return await fromMask(setting, picture, mask, strength);
  },
};

/** Sizes that were given are those of the result: they have to fit. */
function checked(parts: Parts, { height, width }: Size): Size {
  if (height === undefined && width === undefined) return {};
  latentSize(parts, { height: height ?? stepOf(parts), width: width ?? stepOf(parts) });
  return { height, width };
}

/** A mask as large as its picture; of a tensor from 0 to 1 each number counts as the nearer. */
async function maskOf(
  given: Given,
  processor: VaeImageProcessor,
  size: Required<Size>,
  want?: Required<Size>,
): Promise<Tensor> {
  if (given === undefined)
    throw new UserError('[mask_image] got none, want a picture that is white where it is made anew');
  if (given instanceof Tensor) {
    const [h, w] = given.shape.slice(2);
    if (h === size.height && w === size.width) return given.ge(0.5).to('f32');
    throw new UserError(`[mask_image] got ${w} x ${h}, want the picture's ${size.width} x ${size.height}`);
  }
  const mask = await loadedOf(given, 'mask_image');
  if (want && (mask.width !== want.width || mask.height !== want.height)) {
    throw new UserError(
      `[mask_image] got ${mask.width} x ${mask.height}, want the picture's ${want.width} x ${want.height}`,
    );
  }
  return processor.preprocess_mask(mask, size);
}

const NOT_NOTED = [
  'signal',
  'generator',
  'latents',
  'image',
  'mask_image',
  'callback_on_step_end',
  'on_warning',
  'prompt_embeds',
  'negative_prompt_embeds',
  'output_type',
];

/** What is written into a picture: enough to make it again, with the model and the inputs at hand. */
function settingsOf(
  parts: Parts,
  scheduler: Scheduler,
  options: Record<string, unknown>,
  prompt: string,
  seed?: number,
) {
  const noted = Object.entries(options).filter(([name, value]) => !NOT_NOTED.includes(name) && value !== undefined);
  return {
    model: parts.name,
    prompt,
    ...Object.fromEntries(noted),
    ...(seed !== undefined && { seed }),
    scheduler: scheduler.config,
  };
}

/** What a run returns, each of its steps told of; it is closed where `tell` throws. */
async function finish<S, R>(steps: AsyncGenerator<S, R>, tell: (step: S) => void = () => {}): Promise<R> {
  try {
    for (;;) {
      const { done, value } = await steps.next();
      if (done) return value;
      tell(value);
    }
  } finally {
    await steps.return(undefined as never);
  }
}

function pipelineOf<O extends DiffusionOptions>(parts: Parts, kind: Kind<O>): Pipeline<O> {
  const processor = new VaeImageProcessor({ vae_scale_factor: stepOf(parts) });

  async function* go(prompt: Prompt, given: O, previews: boolean): AsyncGenerator<DiffusionStep, DiffusionResult> {
    checkOpen(parts);
    checkOptions('pipeline', given, "{ negative_prompt: 'blurry' }");
    const { guidance_scale = kind.guidance_scale } = given;
    const options = { num_inference_steps: 50, ...given, guidance_scale };
    const { signal } = options;
    const colours = previews ? await factorsOf(parts) : undefined;
    const scheduler = pipe.scheduler;
    const steps = runOf(parts, scheduler, prompt, options, (setting) => kind.begin(setting, options, processor));
    const shown = async ({ latents, seed, image_latents }: Finished): Promise<DiffusionResult> => {
      image_latents?.dispose();
      if (options.output_type === 'latent') return { images: [], latents, seed };
      using _ = latents;
      const decoded = await decodeLatents(parts, latents, signal);
      try {
        const images: Picture[] = [];
        for (const [i, picture] of decoded.entries()) {
          const asked =
            typeof prompt === 'string' ? prompt : prompt[Math.floor(i / (options.num_images_per_prompt ?? 1))]!;
          images.push(...(await processor.postprocess(picture, settingsOf(parts, scheduler, options, asked, seed))));
        }
        return { images, latents: undefined, seed };
      } finally {
        for (const picture of decoded) picture.dispose();
      }
    };
    try {
      for (;;) {
        const { done, value } = await steps.next();
        if (done) return await shown(value);
        options.callback_on_step_end?.({ step: value.step + 1, steps: value.steps, timestep: value.timestep });
        const [like] = colours
          ? await processor.postprocess(preview(value.pred_original_sample.narrow(0, 0, 1), colours))
          : [];
        yield { step: value.step + 1, steps: value.steps, ...(like && { preview: like }) };
      }
    } finally {
      await steps.return(undefined as never); // where an error or the reader left it
    }
  }

  const call = (prompt: Prompt, options = {} as O): Promise<DiffusionResult> => finish(go(prompt, options, false));
  async function* stream(prompt: Prompt, options = {} as O): AsyncGenerator<DiffusionStep, void> {
    const steps = go(prompt, options, true);
    let last = { step: 0, steps: 0 };
    try {
      for (;;) {
        const { done, value } = await steps.next();
        if (!done) yield (last = value);
        else return void (yield { step: last.step, steps: last.steps, images: value.images });
      }
    } finally {
      await steps.return(undefined as never); // where the reader left
    }
  }
  const invert = async (prompt: Prompt, given: InvertOptions) => {
    checkOpen(parts);
    checkOptions('invert', given, '{ image }');
    const { image, ...options } = given;
    const scheduler = new DDIMInverseScheduler(pipe.scheduler.config);
    const steps = runOf(parts, scheduler, prompt, { guidance_scale: 1, ...options }, async (setting) => {
      using picture = await pictureOf(image, 'image', processor, checked(parts, options));
      return await fromMean(setting, picture);
    });
    const { latents, image_latents } = await finish(steps, ({ step, steps, timestep }) =>
      options.callback_on_step_end?.({ step: step + 1, steps, timestep }),
    );
    return { latents, image_latents: image_latents! };
  };
  const dispose = () => disposeParts(parts);
  const task = { model: parts.unet, model_type: 'stable-diffusion' };
  const { enable_tiling: enable_vae_tiling, disable_tiling: disable_vae_tiling } = parts.vae;
  const more = {
    ...loras(parts),
    ...task,
    enable_vae_tiling,
    disable_vae_tiling,
    stream,
    invert,
    dispose,
    [Symbol.dispose]: dispose,
  };
  // not enumerable: what a page is told of a task in a worker has no models in it
  const hidden = { components: { value: parts }, scheduler: { value: parts.scheduler, writable: true } };
  const pipe = Object.defineProperties(Object.assign(call, more), hidden) as unknown as Pipeline<O>;
  return pipe;
}

const pipelineClass = <O extends DiffusionOptions>(kind: Kind<O>) => ({
  /**
   * Loads a folder that diffusers saved, or its id on the hub; a single file with the names of latent-diffusion, with
   * `config` for what is not in it.
   */
  from_pretrained: async (from: ModelSource, options: LoadParts = {}): Promise<Pipeline<O>> =>
    pipelineOf(await loadParts(from, options), kind),
  from_single_file: async (from: ModelSource, options: LoadParts = {}): Promise<Pipeline<O>> =>
    pipelineOf(await loadParts(from, options), kind),
  /** The same models under another pipeline; to dispose of one is to dispose of both. */
  from_pipe: (pipe: { components: Parts }): Pipeline<O> => pipelineOf(pipe.components, kind),
});

export const StableDiffusionPipeline = pipelineClass(fromText);
export const StableDiffusionImg2ImgPipeline = pipelineClass(fromImage);
export const StableDiffusionInpaintPipeline = pipelineClass(intoMask);

/** A picture through an autoencoder and back, and what went in: what it costs to have latents at all. */
export async function roundTrip(
  vae: Parts['vae'],
  image: Given,
  size: Size = {},
): Promise<{ before: Picture; after: Picture }> {
  const processor = new VaeImageProcessor({ vae_scale_factor: stepOf({ vae }) });
  using picture = await pictureOf(image, 'image', processor, size);
  using mean = await vae.encode(picture).mean.contiguous().realize();
  using decoded = await vae.decode(mean).contiguous().realize();
  const [[before], [after]] = [await processor.postprocess(picture), await processor.postprocess(decoded)];
  return { before: before!, after: after! };
}
