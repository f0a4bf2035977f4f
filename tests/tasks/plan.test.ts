import { beforeEach, describe, expect, it } from 'vitest';
import { CLIPModel, type Device, run, setDevice, Tensor, tensor, trim } from '../../src/index.ts';
import { diskFolder, type Folder, memoryFolder } from '../../src/io/source.ts';
import { plan } from '../../src/tasks/plan.ts';
import { shipped } from '../../src/tasks/shipped.ts';
import { measure } from '../real-size/real-size.ts';

const CLIP = 'tests/goldens/cases/clip';

describe('plan', () => {
  let device: Device;
  beforeEach(async () => {
    device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' }); // a new one, which holds nothing
  });

  it.each(['f32', 'f16', 'q8', 'q4'] as const)('is what loading and running take, in %s', async (dtype) => {
    const { passes, weights, activations, total_bytes } = await plan(CLIP, { batch_size: 3 });
    const { inputs } = passes[0]!;
    const model = await CLIPModel.from_pretrained(CLIP, { dtype });
    await trim(device);
    const { liveBytes: loaded } = device.pool.stats;
    expect(loaded).toBe(weights.bytes[dtype]);

    const given = Object.fromEntries(
      Object.entries(inputs).map(([name, shape]) => {
        const values = new Array(shape.reduce((a, b) => a * b, 1)).fill(0);
        return [name, tensor(values, shape, { dtype: name === 'input_ids' ? 'i32' : 'f32' })];
      }),
    );
    expect(given.input_ids!.shape[0]).toBe(3);
    const results: unknown[] = Object.values(model.forward(given as never));
    await run(results.filter((t) => t instanceof Tensor));
    const taken = device.pool.stats.liveBytes - loaded;
    // f32 where the model is f16: some intermediates are half as large, and each cast may add one
    expect(taken / activations.bytes).toBeGreaterThan(dtype === 'f32' ? 0.99 : 0.5);
    expect(taken / activations.bytes).toBeLessThan(1.3);
    expect(total_bytes[dtype]).toBe(weights.bytes[dtype] + activations.bytes);
    model.dispose();
  });
  it('has the modules of the model', async () => {
    const { weights } = await plan(CLIP);
    const { modules } = weights;
    expect(modules.map(({ name }) => name)).toContain('vision_model');
    expect(modules.reduce((n, { parameters }) => n + parameters, 0)).toBe(weights.parameters);
    const deeper = await plan(CLIP, { depth: 4 });
    expect(deeper.weights.modules.map(({ name }) => name)).toContain('text_model.encoder.layers.1');
  });
  it('grows with the batch, the weights do not', async () => {
    const [one, eight] = [await plan(CLIP, { batch_size: 1 }), await plan(CLIP, { batch_size: 8 })];
    expect(eight.activations.bytes).toBeGreaterThan(4 * one.activations.bytes);
    expect(eight.weights).toEqual(one.weights);
  });
  it('says what it cannot plan', async () => {
    await expect(plan('tests/goldens')).rejects.toThrow('no config.json: want the folder of a model');
    await expect(plan('tests/goldens/cases/tokenizer-clip')).rejects.toThrow(/no config.json|model_type/);
  });
});

const INDEX = {
  ...{ _class_name: 'StableDiffusionPipeline', text_encoder: ['transformers', 'CLIPTextModel'] },
  ...{ unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'] },
};
/** A pipeline of parsed configs. */
const pipelineOf = (configs: Record<string, object>, index: object = INDEX) =>
  memoryFolder(
    [
      ['model_index.json', JSON.stringify(index)] as const,
      ...Object.entries(configs).map(([part, c]) => [`${part}/config.json`, JSON.stringify(c)] as const),
    ],
    'sd',
  );
/** As the hub has them, what is left out being the default. */
const SD15 = {
  unet: { cross_attention_dim: 768, sample_size: 64 },
  vae: { block_out_channels: [128, 256, 512, 512], layers_per_block: 2 },
  text_encoder: { model_type: 'clip_text_model', hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 },
};

describe('plan of a diffusers pipeline', () => {
  it('knows Stable Diffusion 1.5 by its configs', async () => {
    const { model_type, weights, passes, activations } = await plan(pipelineOf(SD15));
    expect(model_type).toBe('StableDiffusionPipeline');
    expect(weights.modules.map(({ name, parameters }) => [name, parameters])).toEqual([
      ['text_encoder', 123_060_480],
      ['unet', 859_520_964],
      ['vae', 83_653_863],
    ]); // as torch counts them
    expect(passes.map(({ name, inputs }) => [name, inputs])).toEqual([
      ['text_encoder', { input_ids: [2, 77] }],
      ['unet', { sample: [2, 4, 64, 64], encoder_hidden_states: [2, 77, 768] }],
      ['vae', { latents: [1, 4, 64, 64] }],
    ]);
    const [text, unet, vae] = passes.map(({ bytes }) => bytes) as [number, number, number];
    expect(activations.bytes).toBeGreaterThanOrEqual(Math.max(text, unet, vae));
    expect(activations.bytes).toBeLessThan(text + unet + vae);
    const { passes: wide } = await plan(pipelineOf(SD15), { width: 768, height: 512, batch_size: 2 });
    expect(wide[1]!.inputs.sample).toEqual([4, 4, 64, 96]);
    expect(wide[2]!.inputs.latents).toEqual([1, 4, 64, 96]);
  });

  it('is what all buffers that are made come to, at two sizes', { timeout: 240_000 }, async () => {
    const adapter = process.env.TESSERA_ADAPTER ?? 'software';
    for (const size of [
      { height: 64, width: 64 },
      { height: 128, width: 96 },
    ]) {
      const { ratio, allFinite } = await measure(await shipped('tessera-diffusion'), {
        ...size,
        dtype: 'f16',
        adapter,
      });
      expect(ratio).toBeGreaterThan(0.9);
      expect(ratio).toBeLessThan(1.1);
      expect(allFinite).toBe(true);
    }
  });

  it.each<[string, () => Folder, object, string]>([
    [
      'a size',
      () => pipelineOf(SD15),
      { height: 500 },
      '[plan] size: got 500, want a multiple of 8: 504 is the nearest',
    ],
    [
      'another class',
      () => pipelineOf(SD15, { ...INDEX, unet: ['diffusers', 'UNet'] }),
      {},
      'unet: got "UNet", want UNet2DConditionModel',
    ],
    ['no config', () => pipelineOf({ unet: {} }), {}, 'no config.json: want it in the folder text_encoder'],
    ['a size of what has none', () => diskFolder(CLIP), { width: 8 }, 'height and width are for diffusers pipelines'],
  ])('refuses %s', async (_, folder, options, message) => {
    await expect(plan(folder(), options)).rejects.toThrow(message);
  });
});
