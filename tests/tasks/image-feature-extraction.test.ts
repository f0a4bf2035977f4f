// Features of pictures on tiny random models: what the vision tower says, whatever is beside a picture in the call.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { AutoModel, AutoProcessor, defaultDevice, pipeline, type Tensor, tensor } from '../../src/index.ts';
import { memoryFolder } from '../../src/io/source.ts';
import { tolerance } from '../goldens/compare.ts';
import { openCase } from '../goldens/files.ts';
import { readGolden, readTensors } from '../goldens/golden.ts';
import { golden, pictures, tinyFolder, withNumber } from './support.ts';

const TASK = 'image-feature-extraction';

/** What transformers gave for pixels, and those. */
async function reference(name: string, call: string) {
  const files = openCase({ path: golden(name) });
  const { outputs } = (await readGolden(files)).calls.find((one) => one.name === call)!;
  const read = await readTensors(files);
  const { data, shape } = read(`${call}/in/pixel_values`)!;
  const near = async (output: string, got: Tensor) => {
    const want = read(`${call}/out/${output}`)!;
    expect(got.shape).toEqual(want.shape);
    const values = Array.from(await got.data());
    const most = Math.max(...values.map((value, i) => Math.abs(value - want.data[i]!)));
    expect(most).toBeLessThanOrEqual(tolerance(outputs[output]!));
  };
  return { pixel_values: tensor(data, shape), near };
}

/** A golden tower with the processor that its family has. */
const towerFolder = (name: string, config: object = {}) =>
  memoryFolder(
    [
      [
        'config.json',
        JSON.stringify({ ...JSON.parse(readFileSync(`${golden(name)}/config.json`, 'utf8')), ...config }),
      ],
      ['model.safetensors', new Uint8Array(readFileSync(`${golden(name)}/model.safetensors`))],
      ['preprocessor_config.json', JSON.stringify({ size: { height: 28, width: 28 }, do_center_crop: false })],
    ],
    name,
  );

describe('the tower is transformers', () => {
  test('CLIP, of a folder with both towers', async () => {
    const { pixel_values, near } = await reference('clip', 'image');
    using extract = await pipeline(TASK, tinyFolder('clip'));
    using whole = await AutoModel.from_pretrained(tinyFolder('clip'));
    const { pooler_output } = extract.model.forward({ pixel_values });
    const projection = whole.named_parameters().get('visual_projection.weight')!;
    await near('image_embeds', pooler_output!.matmul(projection.transpose(0, 1)));
    expect([extract.model_type, extract.model.name]).toEqual(['clip', 'CLIPVisionModel']);
  });

  test('SigLIP, of a folder with both towers', async () => {
    const { pixel_values, near } = await reference('siglip', 'image');
    using extract = await pipeline(TASK, tinyFolder('siglip'));
    const { last_hidden_state, pooler_output } = extract.model.forward({ pixel_values });
    await near('last_hidden_state', last_hidden_state);
    await near('image_embeds', pooler_output!);
  });

  test('CLIP, by itself', async () => {
    const name = (await readGolden(openCase({ path: golden('clip-vision') }))).calls[0]!.name;
    const { pixel_values, near } = await reference('clip-vision', name);
    using extract = await pipeline(TASK, towerFolder('clip-vision'));
    const { last_hidden_state, pooler_output } = extract.model.forward({ pixel_values });
    await near('last_hidden_state', last_hidden_state);
    await near('pooler_output', pooler_output!);
    using features = await extract(pictures[0]!, { pool: true });
    expect([extract.model_type, features.shape]).toEqual(['clip_vision_model', [1, 32]]);
  });
});

describe.each(['clip', 'siglip'] as const)('%s', (family) => {
  const folder = tinyFolder(family);
  let want: { last_hidden_state: number[]; pooler_output: number[]; shape: readonly number[] };
  beforeAll(async () => {
    using model = await AutoModel.from_pretrained(folder);
    const { last_hidden_state, pooler_output } = model.vision_model.forward(
      await (await AutoProcessor.from_pretrained(folder))(pictures),
    );
    want = {
      last_hidden_state: [...(await last_hidden_state.data())],
      pooler_output: [...(await pooler_output!.data())],
      shape: last_hidden_state.shape,
    };
  });

  test('gives last_hidden_state, and pooler_output with pool; no row depends on the others', async () => {
    using extract = await pipeline(TASK, folder);
    for (const batch_size of [1, 3, 8]) {
      using hidden = await extract(pictures, { batch_size });
      using pooled = await extract(pictures, { pool: true, batch_size });
      expect([hidden.shape, pooled.shape]).toEqual([want.shape, [want.shape[0], want.shape[2]]]);
      expect([...(await hidden.data())]).toEqual(want.last_hidden_state);
      expect([...(await pooled.data())]).toEqual(want.pooler_output);
    }
    using one = await extract(pictures[1]!, { pool: true });
    const D = want.shape[2]!;
    expect(one.shape).toEqual([1, D]);
    expect([...(await one.data())]).toEqual(want.pooler_output.slice(D, 2 * D));
  });

  test('normalize divides each vector by its length', async () => {
    using extract = await pipeline(TASK, folder);
    for (const pool of [true, false]) {
      using plain = await extract(pictures, { pool });
      using unit = await extract(pictures, { pool, normalize: true });
      expect(await unit.tolist()).toEqual(await plain.normalize().tolist());
    }
  });

  test('f16 weights give nearly the same', async () => {
    using half = await pipeline(TASK, folder, { dtype: 'f16' });
    using got = await half(pictures, { pool: true });
    expect(got.dtype).toBe('f32');
    for (const [i, value] of (await got.data()).entries()) expect(value).toBeCloseTo(want.pooler_output[i]!, 1);
  });

  test('keeps nothing on the device but its weights and what it gave', async () => {
    const { pool } = await defaultDevice();
    const extract = await pipeline(TASK, folder);
    const round = async () => {
      (await extract(pictures, { batch_size: 2 })).dispose();
      return pool.stats.live;
    };
    const live = await round(); // plans keep their places
    using kept = await extract(pictures, { batch_size: 2 });
    expect(pool.stats.live).toBe(live + 1);
    kept.dispose();
    const failing = { batch_size: 2 }; // in the second batch
    await expect(extract([...pictures.slice(0, 3), 'none.png'], failing)).rejects.toThrow('[none.png] no such file');
    expect([pool.stats.live, await round()]).toEqual([live, live]);
    const another = await pipeline(TASK, folder);
    another.dispose();
    extract.dispose();
    expect(pool.stats.live).toBeLessThan(live);
  });
});

test('broken weights are an error, and leave nothing', async () => {
  const { pool } = await defaultDevice();
  const weights = {
    'model.safetensors': withNumber('clip', 'vision_model.post_layernorm.bias', Number.POSITIVE_INFINITY),
  };
  const extract = await pipeline(TASK, tinyFolder('clip', weights));
  const failure = () => extract(pictures, { pool: true }).catch((thrown) => thrown);
  const error = await failure();
  const live = pool.stats.live;
  await failure();
  expect(pool.stats.live).toBe(live);
  expect(error.name).toBe('Error'); // no mistake in what was asked
  expect(error.message).toMatch(
    /^\[image-feature-extraction\] .*landscape\.png: got Infinity in its features, want numbers\. Do the weights hold NaN/,
  );
  using sound = await extract(pictures); // post_layernorm is behind it
  expect(sound.shape[0]).toBe(pictures.length);
  extract.dispose();
});

test('says what is wrong', async () => {
  using extract = await pipeline(TASK, tinyFolder('clip'));
  const message = async (work: Promise<unknown>) => {
    const error = await work.then(
      () => undefined,
      (thrown) => thrown,
    );
    expect(error?.name).toBe('UserError');
    return error.message;
  };
  expect(await message(extract([]))).toBe('[image-feature-extraction] no pictures: want at least one');
  expect(await message(extract(pictures, { batch_size: 0.5 }))).toBe(
    '[image-feature-extraction] batch_size: got 0.5, want a whole number from 1',
  );
  expect(await message(extract([pictures[0]!, new Uint8Array(9)]))).toContain(
    '[picture 2] cannot be read as a picture',
  );
  expect(await message(extract(undefined as never))).toContain('[image] not a picture: got undefined');
  await expect(extract(pictures, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  const other = tinyFolder('clip', { 'config.json': '{"model_type": "bert"}' });
  expect(await message(pipeline(TASK, other))).toBe(
    '[tiny-clip] not a model that can be used here: got model_type "bert", want one of clip, clip_vision_model, siglip, siglip_vision_model',
  );
  const config = JSON.parse((await tinyFolder('siglip').text('config.json'))!);
  config.vision_config.vision_use_head = false;
  using headless = await pipeline(TASK, tinyFolder('siglip', { 'config.json': JSON.stringify(config) }));
  expect(await message(headless(pictures[0]!, { pool: true }))).toBe(
    '[image-feature-extraction] pool: this siglip has no pooler, leave pool out',
  );
  using hidden = await headless(pictures[0]!);
  expect(hidden.rank).toBe(3);
});
