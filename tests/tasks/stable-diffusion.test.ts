// The pipelines of Stable Diffusion as a user has them, on the tiny model of a golden case.
import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  Device,
  DeviceLost,
  defaultDevice,
  LCMScheduler,
  Picture,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionInpaintPipeline,
  StableDiffusionPipeline,
  trim,
  zeros,
} from '../../src/index.ts';
import { settingsOf } from '../../src/tasks/picture.ts';
import { roundTrip } from '../../src/tasks/stable-diffusion/pipelines.ts';
import { collect } from '../collect.ts';

const CASE = fileURLToPath(new URL('../goldens/cases/stable-diffusion', import.meta.url));
const SIZE = { height: 16, width: 24, num_inference_steps: 2 };
const QUIET = { ...SIZE, seed: 7 };

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 }); // a first step compiles some hundred kernels

let pipe: Awaited<ReturnType<typeof StableDiffusionPipeline.from_pretrained>>;
let device: Device;
const folders: string[] = [];
beforeAll(async () => {
  device = await defaultDevice();
  pipe = await StableDiffusionPipeline.from_pretrained(CASE);
});
afterAll(() => {
  pipe.dispose();
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A copy of the case with one JSON file changed. */
function altered(file: string, change: object): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'tessera-test-'));
  folders.push(folder);
  cpSync(CASE, folder, { recursive: true });
  const at = path.join(folder, file);
  writeFileSync(at, JSON.stringify({ ...JSON.parse(readFileSync(at, 'utf8')), ...change }));
  return folder;
}

/** Buffers that are there behind a run, without plans and what only waits for the collector. */
async function left(run: () => Promise<unknown>): Promise<number> {
  await run();
  await trim(device);
  for (let i = 0; i < 5; i++) await collect();
  return device.pool.stats.live;
}

describe('a picture', () => {
  test('is the same for a seed, by itself and among others, and says what made it', async () => {
    const one = await pipe('a red cat', QUIET);
    expect(one.images).toHaveLength(1);
    expect(one.images[0]).toBeInstanceOf(Picture);
    expect(one.images[0]).toMatchObject({ width: 24, height: 16, channels: 3 });
    const png = await one.images[0]!.toPng();
    expect(await settingsOf(png)).toMatchObject({ prompt: 'a red cat', seed: 7, num_inference_steps: 2 });
    const [again, other] = await Promise.all([pipe('a red cat', QUIET), pipe('a red cat', { ...QUIET, seed: 8 })]);
    expect(again.images[0]!.data).toEqual(one.images[0]!.data);
    expect(other.images[0]!.data).not.toEqual(one.images[0]!.data);
  });

  test('comes step by step, with what it will be like', async () => {
    const seen: unknown[] = [];
    for await (const { step, steps, preview, images } of pipe.stream('a cat', QUIET)) {
      seen.push([step, steps, preview && `${preview.width} x ${preview.height}`, images?.length]);
    }
    const first = [1, 3, '12 x 8', undefined]; // PNDM makes one step twice
    expect(seen[0]).toEqual(first);
    expect(seen.at(-1)).toEqual([3, 3, undefined, 1]);
  });

  test('costs half where nothing is compared, and leaves nothing behind', async () => {
    const held = (options: object) => left(() => pipe('a cat', { ...QUIET, ...options }));
    const before = await held({});
    expect(await held({ guidance_scale: 1 })).toBeLessThanOrEqual(before);
    expect(await held({ guidance_rescale: 0.7, num_images_per_prompt: 2 })).toBeLessThanOrEqual(before);
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config);
    try {
      expect(await held({})).toBeLessThanOrEqual(before);
    } finally {
      pipe.scheduler = pipe.components.scheduler;
    }
  });

  test('stops when asked to, at once and in the middle', async () => {
    await expect(pipe('a cat', { ...QUIET, signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    const controller = new AbortController();
    const callback_on_step_end = () => controller.abort(new Error('enough'));
    await expect(pipe('a cat', { ...QUIET, signal: controller.signal, callback_on_step_end })).rejects.toThrow(
      'enough',
    );
    expect((await pipe('a cat', QUIET)).images).toHaveLength(1);
  });
});

describe('a run that does not come to its end', () => {
  test('leaves nothing behind', async () => {
    const leave = async () => {
      for await (const _ of pipe.stream('a cat', QUIET)) break;
    };
    const callback_on_step_end = () => {
      throw new Error('enough');
    };
    await left(leave); // makes what previews are computed with
    const before = await left(leave);
    expect(await left(() => pipe('a cat', { ...QUIET, callback_on_step_end }).catch(() => {}))).toBeLessThanOrEqual(
      before,
    );
    expect(await left(leave)).toBeLessThanOrEqual(before);
  });
});

describe('a picture of a picture', () => {
  const image = new Picture({ width: 24, height: 16, channels: 3, data: new Uint8Array(24 * 16 * 3).map((_, i) => i) });

  test('keeps what strength leaves of it', async () => {
    const edit = StableDiffusionImg2ImgPipeline.from_pipe(pipe);
    const most = await edit('a cat', { image, strength: 0.5, num_inference_steps: 4, seed: 1 });
    const none = await edit('a cat', { image, strength: 0, num_inference_steps: 4, seed: 1 });
    expect(most.images[0]!.data).not.toEqual(none.images[0]!.data);
    await expect(edit('a cat', { image: 'none.png', strength: 1.5 })).rejects.toThrow(
      '[strength] got 1.5, want a number',
    );
    const { after } = await roundTrip(pipe.components.vae, image);
    expect(none.images[0]!.data).toEqual(after.data); // nothing of chance
  });

  test('is made anew inside a mask of its size', async () => {
    const inpaint = StableDiffusionInpaintPipeline.from_pipe(pipe);
    const mask_image = new Picture({ width: 24, height: 16, channels: 1, data: new Uint8Array(24 * 16).fill(255) });
    const { images } = await inpaint('a cat', { image, mask_image, num_inference_steps: 2, seed: 1 });
    expect(images[0]).toMatchObject({ width: 24, height: 16 });
    const small = new Picture({ width: 8, height: 8, channels: 1, data: new Uint8Array(64) });
    await expect(inpaint('a cat', { image, mask_image: small })).rejects.toThrow(
      "[mask_image] got 8 x 8, want the picture's 24 x 16",
    );
  });

  test('has the noise of its mask in the order of diffusers', async () => {
    const mask_image = new Picture({ width: 24, height: 16, channels: 1, data: new Uint8Array(24 * 16).fill(255) });
    const drawn = async (of: typeof pipe, strength: number) => {
      const shapes: string[] = [];
      const generator = {
        randn(shape: readonly number[]) {
          shapes.push(`${shape}`);
          return zeros(shape);
        },
      };
      const how = { num_inference_steps: 2, num_images_per_prompt: 2, output_type: 'latent' as const };
      const { latents } = await StableDiffusionInpaintPipeline.from_pipe(of)('a cat', {
        ...{ ...how, image, mask_image, strength, generator, guidance_scale: 1 },
      });
      latents!.dispose();
      return shapes;
    };
    const [one, two] = ['1,4,8,12', '2,4,8,12'];
    expect(await drawn(pipe, 1)).toEqual([one, two, one]);
    using nine = await StableDiffusionPipeline.from_pretrained(`${CASE}-inpaint`);
    expect(await drawn(nine, 1)).toEqual([two, one]); // the picture itself is not encoded
    expect(await drawn(nine, 0.5)).toEqual([one, two, one]);
    const text = '[unet] takes 9 channels, got 4: an inpainting model, want StableDiffusionInpaintPipeline';
    await expect(nine('a cat', QUIET)).rejects.toThrow(text);
    await expect(StableDiffusionImg2ImgPipeline.from_pipe(nine)('a cat', { image })).rejects.toThrow(text);
  });

  test('has latents that lead back to it', async () => {
    await expect(pipe.invert('x', undefined as never)).rejects.toThrow('[invert] options: got nothing, want an object');
    await expect(pipe.invert('x', {} as never)).rejects.toThrow('[image] got none, want a picture');
    const { latents, image_latents } = await pipe.invert('', { image, num_inference_steps: 2 });
    expect(latents.shape).toEqual([1, 4, 8, 12]);
    for (const t of [latents, image_latents]) t.dispose();
  });
});

describe('adapters', () => {
  const LORA = path.join(CASE, 'lora/pytorch_lora_weights.safetensors');
  const picture = async () => (await pipe('a cat', QUIET)).images[0]!.data;
  /** The file as diffusers once saved it: of the U-Net alone, which it does not name. */
  function old(): string {
    const bytes = readFileSync(LORA);
    const length = Number(bytes.readBigUInt64LE(0));
    const text = bytes.subarray(8, 8 + length).toString('utf8');
    const renamed = text
      .replaceAll('"unet.', '"')
      .replace(/\.(to_[qkv]|to_out)(?:\.0)?\.lora\.(down|up)\.weight/g, '.processor.$1_lora.$2.weight');
    const header = Buffer.from(renamed);
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(header.length));
    const file = path.join(mkdtempSync(path.join(tmpdir(), 'tessera-test-')), 'pytorch_lora_weights.safetensors');
    folders.push(path.dirname(file));
    writeFileSync(file, Buffer.concat([size, header, bytes.subarray(8 + length)]));
    return file;
  }

  test('load under old names, are all set or none, and go one by one', async () => {
    const plain = await picture();
    expect(await pipe.load_lora_weights(LORA, { adapter_name: 'new' })).toEqual([]);
    const changed = await picture();
    expect(changed).not.toEqual(plain);
    pipe.set_adapters('new', 0.5);
    expect(await pipe.load_lora_weights(old())).toEqual([]);
    expect(pipe.active_adapters()).toEqual(['new', 'default_0']);
    expect(pipe.components.unet.adapter_weights()).toEqual([0.5, 1]); // the first as it was
    for (const [names, weights] of [
      [['default_0', 'none'], 1],
      [['default_0', 'new'], [1]],
      ['default_0', [Number.NaN]],
    ] as const) {
      expect(() => pipe.set_adapters(names, weights)).toThrow(/^\[set_adapters\] /);
      expect(pipe.components.unet.adapter_weights()).toEqual([0.5, 1]);
    }
    expect(() => pipe.delete_adapters(['new', 'none'])).toThrow(
      "[delete_adapters] no adapter 'none': 'new', 'default_0'",
    );
    pipe.delete_adapters('new');
    pipe.set_adapters('default_0');
    expect(await picture()).toEqual(changed);
    await pipe.components.unet.merge_adapter();
    expect(() => pipe.delete_adapters('default_0')).toThrow(
      '[delete_adapters] adapters are merged into the UNet2DConditionModel',
    );
    await pipe.components.unet.unmerge_adapter();
    pipe.unload_lora_weights();
    expect(pipe.active_adapters()).toEqual([]);
    expect(await picture()).toEqual(plain);
  });
  test('that are loaded at once are all there', async () => {
    const failed = pipe.load_lora_weights(CASE, { adapter_name: 'none' }).catch(() => 'failed');
    const loads = [failed, pipe.load_lora_weights(LORA), pipe.load_lora_weights(old())];
    expect(await Promise.all(loads)).toEqual(['failed', [], []]);
    expect(pipe.active_adapters()).toEqual(['default_0', 'default_1']);
    pipe.unload_lora_weights();
    expect(pipe.active_adapters()).toEqual([]);
  });
  test('change one after the other in all models, and what acts at once is refused meanwhile', async () => {
    const { unet } = pipe.components;
    const told = (work: Promise<unknown>) => work.then(String, ({ message }) => message as string);
    const works = [
      pipe.load_lora_weights(LORA, { adapter_name: 'a' }),
      pipe.load_lora_weights(LORA, { adapter_name: 'a' }),
      unet.merge_adapter(),
      pipe.load_lora_weights(LORA),
      unet.unmerge_adapter(),
      pipe.load_lora_weights(LORA),
    ].map(told);
    const busy = 'load_lora_weights is at work: await it first';
    expect(() => pipe.set_adapters([])).toThrow(`[set_adapters] ${busy}`);
    expect(() => pipe.delete_adapters([])).toThrow(`[delete_adapters] ${busy}`);
    expect(() => pipe.unload_lora_weights()).toThrow(`[unload_lora_weights] ${busy}`);
    expect(() => unet.set_adapters([])).toThrow(`[set_adapters] ${busy}`);
    expect(pipe.active_adapters()).toEqual([]);
    expect(await Promise.all(works)).toEqual([
      '',
      "[load_lora_weights] 'a' is loaded: give another name",
      'undefined',
      '[load_lora_weights] adapters are merged into the UNet2DConditionModel: call its unmerge_adapter() first',
      'undefined',
      '',
    ]);
    expect(pipe.active_adapters()).toEqual(['a', 'default_0']);
    pipe.unload_lora_weights();
  });
});

describe('a device of its own', () => {
  test('that is lost in the middle ends the run, and the next works', async () => {
    const own = await Device.request({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
    const other = await StableDiffusionPipeline.from_pretrained(CASE, { device: own });
    const edit = StableDiffusionImg2ImgPipeline.from_pipe(other);
    const { images } = await other('a cat', QUIET);
    const lose = () => void other.model.device.gpu.destroy();
    await expect(other('a cat', { ...QUIET, callback_on_step_end: lose })).rejects.toBeInstanceOf(DeviceLost);
    expect((await other('a cat', QUIET)).images[0]!.data).toEqual(images[0]!.data);
    edit.dispose();
    for (const again of [other('a cat', QUIET), edit('a cat', QUIET as never), other.invert('a cat', {} as never)]) {
      await expect(again).rejects.toThrow('[pipeline] was disposed and is used again');
    }
    await expect(other.load_lora_weights(CASE)).rejects.toThrow('[pipeline] was disposed');
    (await own.heir()).dispose();
  });
});

describe('what is wrong is told', () => {
  test.each([
    [{ height: 500 }, '[height] got 500, want a multiple of 8: 504 is the nearest'],
    [{ width: 3 }, '[width] got 3, want a multiple of 8: 8 is the nearest'],
    [{ guidance_scale: -1 }, '[guidance_scale] got -1, want a number from 0'],
    [{ num_inference_steps: 0 }, 'num_inference_steps: got 0, want a whole number from 1 to 1000'],
    [{ num_images_per_prompt: 0.5 }, '[num_images_per_prompt] got 0.5, want a whole number from 1'],
    [{ negative_prompt: ['a', 'b'] }, '[negative_prompt] got 2 for 1 prompts, want one, or one for each'],
    [{ clip_skip: 9 }, '[prompt] clip_skip: got 9, want 0 to 2'],
  ])('%j', async (options, message) => {
    await expect(pipe('a cat', { ...QUIET, ...options } as never)).rejects.toMatchObject({
      name: 'UserError',
      message: expect.stringContaining(message),
    });
  });

  test('what a prompt lost', async () => {
    const told: string[] = [];
    await pipe(`${'cat '.repeat(75)}dog`, { ...QUIET, on_warning: (text) => told.push(text) });
    expect(told.join()).toMatch(/^\[prompt\] got \d+ tokens, 75 fit; cut off: ".*dog"$/);
  });

  test('the block that gives no finite numbers, and what helps', async () => {
    using latents = zeros([1, 4, 8, 12]).add(Number.NaN);
    await expect(pipe('a cat', { ...QUIET, latents })).rejects.toThrow(
      '[unet] step 1: values that are no finite numbers, first in conv_in; its weights are f32',
    );
  });

  test('a scheduler, a part and a file that are not known', async () => {
    const load = (folder: string) => StableDiffusionPipeline.from_pretrained(folder);
    await expect(load(altered('scheduler/scheduler_config.json', { _class_name: 'HeunScheduler' }))).rejects.toThrow(
      '_class_name "HeunScheduler": want one of DDIMScheduler',
    );
    await expect(load(altered('model_index.json', { unet: ['diffusers', 'FluxModel'] }))).rejects.toThrow(
      'model_index.json, unet: got "FluxModel", want UNet2DConditionModel',
    );
    await expect(load(altered('unet/config.json', { class_embed_type: 'other' }))).rejects.toThrow('class_embed_type');
    const alone = mkdtempSync(path.join(tmpdir(), 'tessera-test-'));
    folders.push(alone);
    const file = path.join(alone, 'dream.safetensors');
    copyFileSync(path.join(CASE, 'unet/diffusion_pytorch_model.safetensors'), file);
    await expect(load(file)).rejects.toThrow('[dream.safetensors] weights alone: want { config:');
    await expect(StableDiffusionPipeline.from_single_file(file, { config: CASE })).rejects.toThrow('no unet in it');
  });
});
