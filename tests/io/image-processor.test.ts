// The image processors against transformers (goldens clip-processor, siglip-processor), and their fields one by one.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeImage } from '../../src/io/image.ts';
import { centerCrop, overWhite } from '../../src/io/pixels.ts';
import { imageProcessor } from '../../src/tasks/image-processor.ts';
import { fixturePath, fromBase64, goldenPath, goldenTensor, readBytes, readJson, valueOrMessage } from './support.ts';

type Call = { name: string; args: { image: string }; outputs: { pixel_values: { f32_error: number; scale: number } } };

describe.each(['clip-processor', 'siglip-processor'])('%s', (name) => {
  const config = readJson(goldenPath(`${name}/preprocessor_config.json`));
  const { calls } = readJson(goldenPath(`${name}/golden.json`)) as { calls: Call[] };
  test.each(calls.map((call) => [call.name, call] as const))('%s', async (_, call) => {
    const image = await decodeImage(readBytes(goldenPath(`${name}/${call.args.image}`)));
    const got = imageProcessor(config)(image);
    const want = await goldenTensor(goldenPath(`${name}/golden.safetensors`), `${call.name}/out/pixel_values`);
    const { f32_error, scale } = call.outputs.pixel_values;
    expect([1, ...got.shape]).toEqual(want.shape);
    const worst = got.data.reduce((most, x, i) => Math.max(most, Math.abs(x - want.data[i]!)), 0);
    expect(worst).toBeLessThanOrEqual(16 * f32_error + 2e-6 * scale);
  });
});

describe('equals transformers bit for bit', () => {
  type Picture = { width: number; height: number; channels: number; pixels: string };
  type Case = { config: Record<string, unknown>; image: string; shape: number[]; values: string };
  const { images, cases } = readJson(fixturePath('image-processor.json')) as {
    images: Record<string, Picture>;
    cases: Case[];
  };
  test.each(cases.map((c) => [`${JSON.stringify(c.config)} on ${c.image}`, c] as const))('%s', (_, c) => {
    const { pixels, ...size } = images[c.image]!;
    const got = imageProcessor(c.config)({ ...size, data: fromBase64(pixels) });
    expect(got.shape).toEqual(c.shape);
    expect(got.data).toEqual(new Float32Array(fromBase64(c.values).buffer));
  });
});

test('processor_config.json holds it as image_processor; old names and plain numbers are read', () => {
  const image = { width: 9, height: 6, channels: 3, data: Uint8Array.from({ length: 162 }, (_, i) => i) };
  const fields = { size: { shortest_edge: 4 }, crop_size: { height: 4, width: 4 } };
  const want = imageProcessor({ image_processor_type: 'CLIPImageProcessor', ...fields })(image);
  expect(want.shape).toEqual([3, 4, 4]);
  expect(imageProcessor({ image_processor: fields, processor_class: 'LlavaProcessor' })(image)).toEqual(want);
  expect(imageProcessor({ feature_extractor_type: 'CLIPFeatureExtractor', size: 4, crop_size: 4 })(image)).toEqual(
    want,
  );
  expect(imageProcessor({})(image).shape).toEqual([3, 224, 224]);
});

test.each([
  { image_processor_type: 'CLIPImageProcessor', size: 6, crop_size: 6 },
  { image_processor_type: 'CLIPImageProcessor', size: 6, crop_size: 6, do_normalize: false },
  { image_processor_type: 'SiglipImageProcessor', size: { height: 6, width: 9 } },
])('what it made is a picture again: %j', (config) => {
  const image = { width: 9, height: 6, channels: 3, data: Uint8Array.from({ length: 162 }, (_, i) => (i * 41) % 256) };
  const process = imageProcessor(config);
  const cut = config.crop_size ? centerCrop(image, 6, 6) : image;
  expect(process.pixels(process(image))).toEqual(cut);
});

test('transparent parts become white', () => {
  const over = (pixel: number[]) => [
    ...overWhite({ width: 1, height: 1, channels: pixel.length, data: Uint8Array.from(pixel) }).data,
  ];
  expect(over([10, 20, 30, 0])).toEqual([255, 255, 255]);
  expect(over([10, 20, 30, 255])).toEqual([10, 20, 30]);
  expect(over([0, 100, 255, 128])).toEqual([127, 177, 255]);
  expect(over([0, 128])).toEqual([127, 127, 127]);
});

test('a crop larger than the picture pads with black, one side by one more', () => {
  const row = (size: number, crop: number) => [
    ...centerCrop(
      { width: size, height: 1, channels: 1, data: Uint8Array.from({ length: size }, (_, i) => i + 1) },
      crop,
      1,
    ).data,
  ];
  expect(row(2, 5)).toEqual([0, 0, 1, 2, 0]);
  expect(row(5, 2)).toEqual([2, 3]);
  expect(row(4, 4)).toEqual([1, 2, 3, 4]);
});

describe('refuses a config that it can not follow', () => {
  const cases: [Record<string, unknown>, string][] = [
    [
      { image_processor_type: 'VideoMAEImageProcessor' },
      `image processor "VideoMAEImageProcessor" is not supported here: want CLIP's, SigLIP's or LLaVA's`,
    ],
    [{ size: { longest_edge: 8 } }, 'size: got {"longest_edge":8}, want {shortest_edge}, {height, width} or a number'],
    [{ size: { shortest_edge: 8, longest_edge: 9 } }, 'size: got {"shortest_edge":8,"longest_edge":9}'],
    [{ crop_size: 0 }, 'crop_size: got 0, want {height, width} or a number'],
    [{ crop_size: 1e9 }, 'crop_size: got 1000000000'],
    [{ resample: 6 }, 'resample: got 6, want 0 to 5'],
    [{ do_resize: 'yes' }, 'do_resize: got "yes", want true or false'],
    [{ image_mean: [1, 2] }, 'image_mean: got [1,2], want three numbers'],
    [{ image_std: [0, 0.5, 0.5] }, 'image_std: got [0,0.5,0.5], want three numbers other than 0'],
    [{ rescale_factor: '1/255' }, 'rescale_factor: got "1/255", want a number'],
    [{ do_pad: true }, 'do_pad is not supported'],
  ];
  test.each(cases)('%o', (config, want) => {
    expect(() => imageProcessor(config)).toThrow(`[preprocessor_config.json] ${want}`);
  });
});

test('any config: a processor or a UserError', async () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(8, 0, true, { shortest_edge: 4 }, { height: 3, width: 5 }, 'CLIPImageProcessor'),
  );
  const names = fc.constantFrom(
    'size',
    'crop_size',
    'do_resize',
    'do_center_crop',
    'resample',
    'image_mean',
    'image_processor_type',
    'image_processor',
  );
  const image = { width: 3, height: 2, channels: 4, data: new Uint8Array(24).fill(200) };
  await fc.assert(
    fc.asyncProperty(fc.dictionary(names, value), async (config) => {
      const { value: got } = await valueOrMessage(() => imageProcessor(config)(image));
      if (got) expect(got.data.length).toBe(got.shape[0] * got.shape[1] * got.shape[2]);
    }),
    { numRuns: 200 },
  );
});

test('a picture of an extreme shape is refused before it is enlarged', () => {
  const clip = { image_processor_type: 'CLIPImageProcessor', size: { shortest_edge: 64 } };
  const image = { width: 500_000, height: 1, channels: 3 as const, data: new Uint8Array(1_500_000) };
  expect(() => imageProcessor({ ...clip, do_center_crop: false })(image)).toThrow('would become 32000000 x 64');
});

test.each([2, 3])('of a picture that is cropped only what stays is enlarged, by filter %d', (resample) => {
  const process = imageProcessor({ image_processor_type: 'CLIPImageProcessor', resample, image_std: [1, 1, 1] });
  const data = Uint8Array.from({ length: 60_000 }, (_, i) => (i % 3 === 0 ? i / 240 : 7));
  const start = performance.now();
  const { data: tall, shape } = process({ width: 1, height: 20_000, channels: 3, data });
  const { data: wide } = process({ width: 20_000, height: 1, channels: 3, data });
  expect(performance.now() - start).toBeLessThan(2000); // of a billion pixels it would be minutes
  expect(shape).toEqual([3, 224, 224]);
  const red = (values: Float32Array, y: number, x: number) => values[224 * y + x];
  expect(red(tall, 3, 200)).toBe(red(wide, 200, 3));
  expect(red(tall, 110, 5)).toBeCloseTo(125 / 255 - 0.48145466, 2);
});
