// Whole pipelines of Stable Diffusion: every intermediate latent, and the picture.
import type { Tensor } from '../../src/index.ts';
import { schedulerOf } from '../../src/tasks/schedulers/index.ts';
import type { Denoised, Random } from '../../src/tasks/stable-diffusion/denoise.ts';
import { decodeLatents, latentSize } from '../../src/tasks/stable-diffusion/latents.ts';
import { loras } from '../../src/tasks/stable-diffusion/lora.ts';
import { disposeParts, loadParts, type Parts } from '../../src/tasks/stable-diffusion/parts.ts';
import { encodePrompts, promptIds } from '../../src/tasks/stable-diffusion/prompt.ts';
import { type Finished, type RunOptions, runOf } from '../../src/tasks/stable-diffusion/runs.ts';
import { fromMask, fromMean, fromNoise, fromPicture } from '../../src/tasks/stable-diffusion/starts.ts';
import { type Family, family, method, type Outputs } from './family.ts';
import type { CaseFiles } from './files.ts';
import { integers, type Values } from './golden.ts';

type Args = Record<string, unknown>;

const isText = (value: unknown) => typeof value === 'string';
const isTexts = (value: unknown) => isText(value) || (Array.isArray(value) && value.every(isText));
const isNumber = (value: unknown) => typeof value === 'number';
/** What is said in words to whoever reads the case. */
const isNote = isText;

const known = {
  ...{ prompt: isTexts, negative_prompt: (value: unknown) => value === null || isTexts(value) },
  ...{ height: isNumber, width: isNumber, num_inference_steps: isNumber, guidance_scale: isNumber, strength: isNumber },
  ...{ scheduler: isText, scheduler_config: (value: unknown) => typeof value === 'object', note: isNote },
  ...{ guidance_rescale: isNumber, eta: isNumber, num_images_per_prompt: isNumber, clip_skip: isNumber },
};

const schedulerFor = ({ scheduler, scheduler_config }: Args) =>
  schedulerOf({ ...(scheduler_config as object), _class_name: scheduler });

const optionsOf = ({ negative_prompt, num_inference_steps, guidance_scale, ...rest }: Args) => {
  const { guidance_rescale, eta, num_images_per_prompt, clip_skip } = rest;
  const more = { guidance_rescale, eta, num_images_per_prompt, clip_skip };
  const given = Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined));
  return { negative_prompt, num_inference_steps, guidance_scale, ...given } as RunOptions & { guidance_scale: number };
};

/** Noise that is given, in the order in which it is asked for. */
const replay = (...draws: (Tensor | undefined)[]): Random => ({
  randn(shape) {
    const next = draws.shift();
    if (`${next?.shape}` !== `${shape}`) throw new Error(`noise: asked for [${shape}], the case has [${next?.shape}]`);
    return next!;
  },
});

const stacked = async (rows: Values[]): Promise<Values> => ({
  shape: [rows.length, ...rows[0]!.shape],
  data: Float32Array.from(rows.flatMap(({ data }) => [...data])),
});
const valuesOf = async (t: Tensor): Promise<Values> => ({ shape: t.shape, data: (await t.data()) as Float32Array });

/** What each step gave, and the end. */
async function follow(steps: AsyncGenerator<Denoised, Finished>) {
  const seen = { timesteps: [] as number[], outputs: [] as Values[], after: [] as Values[], blended: [] as Values[] };
  for (;;) {
    const { done, value } = await steps.next();
    if (done) {
      return {
        ...value,
        timesteps: { shape: [seen.timesteps.length], data: Float32Array.from(seen.timesteps) },
        model_outputs: await stacked(seen.outputs),
        latents_after_step: await stacked(seen.after),
        latents_after_blend: await stacked(seen.blended),
      };
    }
    seen.timesteps.push(value.timestep);
    seen.outputs.push(await valuesOf(value.model_output));
    seen.after.push(await valuesOf(value.prev_sample));
    seen.blended.push(await valuesOf(value.latents));
  }
}

async function shown(parts: Parts, found: Awaited<ReturnType<typeof follow>>): Promise<Outputs> {
  const pictures = await decodeLatents(parts, found.latents);
  const rows = await Promise.all(pictures.map(valuesOf));
  const [, ...shape] = rows[0]!.shape;
  const data = Float32Array.from(rows.flatMap((row) => [...row.data]));
  const decoded = { shape: [rows.length, ...shape], data };
  const image = { ...decoded, data: data.map((v) => Math.min(1, Math.max(0, v / 2 + 0.5))) };
  const { seed: _, ...outputs } = found;
  return { ...outputs, decoded, image };
}

const TEXT = 'tokenizer(padding=max_length, truncation=True), text_encoder(...)[0]';
const INVERSION = 'DDIMInverseScheduler, then DDIMScheduler';
const signed = (image: Tensor) => image.mul(2).sub(1);

async function load(files: CaseFiles) {
  const parts = await loadParts(await files.checkpoint());
  return Object.assign(parts, { files, [Symbol.dispose]: () => disposeParts(parts) });
}

const inpaint = method({
  inputs: ['image', 'mask_image', 'posterior_noise?', 'noise', 'masked_noise?'],
  args: known,
  async run(parts: Parts, { image, mask_image, ...noises }, { prompt, strength, ...args }) {
    const { posterior_noise, noise, masked_noise = posterior_noise } = noises; // drawn in any case
    const generator = replay(...(posterior_noise ? [posterior_noise] : []), noise, masked_noise);
    const mask = mask_image.ge(0.5).to('f32');
    const options = { ...optionsOf(args), generator };
    const steps = runOf(parts, schedulerFor(args), prompt as string, options, (setting) =>
      fromMask(setting, signed(image), mask, strength as number),
    );
    return shown(parts, await follow(steps));
  },
});

export const stableDiffusion: Record<string, Family> = {
  StableDiffusionPipeline: family(load, {
    [TEXT]: method({
      inputs: ['input_ids?'],
      args: { prompts: isTexts },
      async run(parts: Parts, _, { prompts }) {
        const texts = prompts as string[];
        const on_warning = () => {};
        return {
          input_ids: integers(promptIds(parts, texts, { on_warning })),
          embeds: await encodePrompts(parts, texts, { on_warning }),
        };
      },
    }),
    __call__: method({
      inputs: ['latents'],
      args: { ...known, lora: isText, lora_scale: isNumber },
      async run(parts: Parts & { files: CaseFiles }, { latents }, { prompt, lora, lora_scale, ...args }) {
        const size = latentSize(parts, args as { height: number });
        const start = (setting: Parameters<typeof fromNoise>[0]) =>
          fromNoise(setting, [setting.B, latents.shape[1]!, ...size], latents);
        const adapters = loras(parts);
        if (lora) {
          const folder = (lora as string).replace(/\/?[^/]*$/, '');
          await adapters.load_lora_weights(await parts.files.checkpoint(folder), { adapter_name: 'lora' });
          adapters.set_adapters('lora', lora_scale as number);
        }
        const steps = runOf(parts, schedulerFor(args), prompt as string, optionsOf(args), start);
        return shown(parts, await follow(steps)).finally(adapters.unload_lora_weights);
      },
    }),
    'StableDiffusionImg2ImgPipeline.__call__': method({
      inputs: ['image', 'posterior_noise', 'noise'],
      args: { ...known, image: isNote },
      async run(parts: Parts, { image, posterior_noise, noise }, { prompt, strength, ...args }) {
        const options = { ...optionsOf(args), generator: replay(posterior_noise, noise) };
        const steps = runOf(parts, schedulerFor(args), prompt as string, options, (setting) =>
          fromPicture(setting, signed(image), strength as number),
        );
        return shown(parts, await follow(steps));
      },
    }),
    'StableDiffusionInpaintPipeline.__call__': inpaint,
    [INVERSION]: method({
      inputs: ['image'],
      args: { ...known, loop: isNote },
      async run(parts: Parts, { image }, { prompt, scheduler_config, ...args }) {
        const options = optionsOf(args);
        const of = (scheduler: string) => schedulerFor({ scheduler, scheduler_config });
        const there = await follow(
          runOf(parts, of('DDIMInverseScheduler'), prompt as string, options, (setting) =>
            fromMean(setting, signed(image)),
          ),
        );
        const back = await follow(
          runOf(parts, of('DDIMScheduler'), prompt as string, options, (setting) =>
            fromNoise(setting, there.latents.shape, there.latents),
          ),
        );
        return {
          image_latents: there.image_latents,
          inverted_timesteps: there.timesteps,
          inverted_after_step: there.latents_after_step,
          inverted: there.latents,
          reconstructed_timesteps: back.timesteps,
          reconstructed_after_step: back.latents_after_step,
          reconstructed: back.latents,
        };
      },
    }),
  }),
  StableDiffusionInpaintPipeline: family(load, { __call__: inpaint }),
};
