import { beforeEach, describe, expect, it } from 'vitest';
import { CLIPModel, type Device, run, setDevice, Tensor, tensor, trim } from '../../src/index.ts';
import { plan } from '../../src/tasks/plan.ts';

const CLIP = 'tests/goldens/cases/clip';

describe('plan', () => {
  let device: Device;
  beforeEach(async () => {
    device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' }); // a new one, which holds nothing
  });

  it.each(['f32', 'f16', 'q8', 'q4'] as const)('is what loading and running take, in %s', async (dtype) => {
    const { inputs, weights, activations, total_bytes } = await plan(CLIP, { batch_size: 3 });
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
