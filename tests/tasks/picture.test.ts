// Pictures out and in: texts in PNG files as Pillow has them, grids, what diffusers' VaeImageProcessor makes (fixtures/pictures.json),
// previews of latents.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  load_image,
  make_image_grid,
  Picture,
  randn,
  type Tensor,
  tensor,
  VaeImageProcessor,
} from '../../src/index.ts';
import { encodePng } from '../../src/io/image.ts';
import { pngTexts, textChunks } from '../../src/io/png-text.ts';
import { fitFactors, preview } from '../../src/tasks/latent-preview.ts';
import { settingsOf } from '../../src/tasks/picture.ts';
import { mask_latents } from '../../src/tasks/vae-image-processor.ts';
import { packResult, unpack } from '../../src/tasks/wire.ts';
import fixture from './fixtures/pictures.json' with { type: 'json' };

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
const pixels = (p: { width: number; height: number; channels: number; data: string }) => ({
  ...p,
  data: bytes(p.data),
});
const floats = ({ shape, data }: { shape: number[]; data: string }) => ({
  shape,
  data: new Float32Array(bytes(data).buffer),
});
const of = (width: number, height: number, fill: (x: number, y: number, c: number) => number, channels = 3) => {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const at = Math.floor(i / channels);
    return fill(at % width, Math.floor(at / width), i % channels);
  });
  return { width, height, channels, data };
};

describe('texts in PNG files', () => {
  test('as Pillow writes them', async () => {
    expect(await pngTexts(bytes(fixture.png))).toEqual(fixture.texts);
  });
  test('come back as they were, and harm no pixel', async () => {
    const image = of(3, 2, (x, y, c) => 40 * x + 7 * y + c);
    const texts = { parameters: 'déjà vu\nSteps: 20', tessera: '{"prompt":"日本 🍎"}', empty: '' };
    const file = await encodePng(image, textChunks(texts));
    expect(await pngTexts(file)).toEqual(texts);
    expect(await load_image(file)).toEqual(image);
  });
  test('refuses what is no PNG, is damaged, or has a keyword that no PNG can have', async () => {
    const file = await encodePng(
      of(1, 1, () => 0),
      textChunks({ a: 'text' }),
    );
    await expect(pngTexts(new Uint8Array(9), 'x.jpg')).rejects.toThrow(
      '[x.jpg] no PNG file: want one that was made here',
    );
    await expect(pngTexts(file.slice(0, -8), 'x.png')).rejects.toThrow('[x.png] damaged PNG: it is cut off');
    file[42]! ^= 1;
    await expect(pngTexts(file, 'x.png')).rejects.toThrow('[x.png] damaged PNG: checksum of tEXt');
    expect(() => textChunks({ ' a': '' })).toThrow('want 1 to 79 plain characters');
  });
});

describe('a picture', () => {
  const settings = { prompt: 'a red apple', seed: 7, parameters: 'a red apple\nSeed: 7' };
  const picture = new Picture(
    of(4, 3, (x, y, c) => 10 * x + y + 50 * c),
    settings,
  );

  test('is saved whole, with its settings, and is a picture everywhere', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'tessera-picture-'));
    try {
      const file = path.join(folder, 'out.png');
      await picture.save(file);
      expect(readdirSync(folder)).toEqual(['out.png']);
      const saved = new Uint8Array(readFileSync(file));
      expect(await settingsOf(saved)).toEqual(settings);
      expect((await pngTexts(saved)).parameters).toBe(settings.parameters);
      expect((await load_image(file)).data).toEqual(picture.data);
      expect((await load_image(picture)).data).toEqual(picture.data);
      await expect(picture.save(path.join(folder, 'out.jpg'))).rejects.toThrow('want one that ends with .png');
      await expect(picture.save(path.join(folder, 'none/out.png'))).rejects.toThrow('cannot be written');
      expect(readdirSync(folder)).toEqual(['out.png']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
  test('as a Blob', async () => {
    const blob = await picture.toBlob();
    expect([blob.type, (await load_image(blob)).data]).toEqual(['image/png', picture.data]);
    await expect(picture.toBlob('image/webp')).rejects.toThrow("[toBlob] type: got 'image/webp', want 'image/png'");
    expect(() => picture.toCanvas()).toThrow('[toCanvas] there is no canvas outside of a page or a worker');
  });
  test('without settings says so', async () => {
    const plain = await new Picture(picture).toPng();
    expect(await pngTexts(plain)).toEqual({});
    await expect(settingsOf(plain, 'x.png')).rejects.toThrow('[x.png] has no settings in it');
  });
  test.each([1, 2, 3, 4])('of %i channels as RGBA', (channels) => {
    const [r, g, b, a] = new Picture(of(1, 1, (_x, _y, c) => 10 + c, channels)).toRgba();
    const colours = channels > 2 ? [10, 11, 12] : [10, 10, 10];
    expect([r, g, b, a]).toEqual([...colours, channels % 2 === 0 ? 9 + channels : 255]);
  });
  test('comes out of a worker', async () => {
    const sent = structuredClone(await packResult({ images: [picture] }));
    const { images } = unpack(sent) as { images: Picture[] };
    expect(images[0]).toBeInstanceOf(Picture);
    expect(images[0]).toEqual(picture);
  });
});

describe('make_image_grid', () => {
  const one = (v: number) => of(2, 1, () => v, 1);
  test('five of them, three beside each other', () => {
    const grid = make_image_grid([1, 2, 3, 4, 5].map(one));
    expect([grid.width, grid.height, ...grid.data]).toEqual([6, 2, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 0, 0]);
  });
  test('rows and columns as asked', () => {
    expect([make_image_grid([1, 2].map(one), 2).width, make_image_grid([1, 2].map(one), 1, 2).width]).toEqual([2, 4]);
    expect(() => make_image_grid([1, 2].map(one), 1, 1)).toThrow('got 1 rows x 1 columns, want room for 2 pictures');
    expect(() => make_image_grid([])).toThrow('images: got none');
    expect(() => make_image_grid([one(1), of(3, 1, () => 0, 1)])).toThrow(
      'got 3 x 1 x 1 beside 2 x 1 x 1, want one size',
    );
  });
});

describe('VaeImageProcessor, as diffusers', () => {
  const processor = new VaeImageProcessor();
  const [rgb, grey] = [pixels(fixture.rgb), pixels(fixture.grey)];
  const equals = async (got: Tensor, want: { shape: readonly number[]; data: ArrayLike<number> }) =>
    expect([got.shape, [...(await got.data())]]).toEqual([want.shape, [...Array.from(want.data)]]);
  const bits = ({ shape, data }: { shape: number[]; data: string }) => ({ shape, data: bytes(data) });

  test('preprocess', async () => {
    await equals(processor.preprocess(rgb), floats(fixture.preprocess));
    await equals(processor.preprocess(rgb, { height: 8, width: 24 }), floats(fixture.preprocess_sized));
    expect(processor.preprocess([rgb, rgb]).shape).toEqual([2, 3, 16, 16]);
  });
  test('masks', async () => {
    await equals(processor.preprocess_mask(rgb), bits(fixture.mask_of_rgb));
    await equals(processor.preprocess_mask(grey, { height: 24, width: 24 }), bits(fixture.mask_of_grey));
    const mask = processor.preprocess_mask(grey, { height: 24, width: 40 });
    await equals(mask, bits(fixture.mask));
    await equals(mask_latents(mask, 8), bits(fixture.mask_latents));
  });
  test('postprocess', async () => {
    const { shape, data } = floats(fixture.decoded);
    const got = await processor.postprocess(tensor(data, shape), [{ seed: 1 }, { seed: 2 }]);
    expect(got.map((p) => ({ ...p }))).toEqual(
      fixture.postprocess.map((p, i) => ({ ...pixels(p), settings: { seed: i + 1 } })),
    );
  });
  test('refuses what it cannot take', async () => {
    expect(() => processor.preprocess(rgb, { height: 7 })).toThrow(
      '[image] size: got width 21, height 7, want whole numbers from 8',
    );
    expect(() => processor.preprocess([])).toThrow('got no pictures');
    await expect(processor.postprocess(tensor([1]))).rejects.toThrow('got [1], want [pictures, 1 or 3, H, W]');
  });
});

describe('previews of latents', () => {
  test('are sums over the channels', async () => {
    const factors = [
      [1, 0, 2],
      [0, -1, 0.5],
      [0.1, 0.2, 0.3],
    ] as const;
    const y = await preview(tensor([1, 2, 3, 4]).reshape([1, 2, 1, 2]), factors).tolist();
    expect(y).toEqual(
      [[[[1.1, 2.1]], [[-2.8, -3.8]], [[3.8, 6.3]]]].map((b) =>
        b.map((c) => c.map((r) => r.map((v) => Math.fround(v)))),
      ),
    );
    expect(preview(randn([2, 4, 6, 5], { seed: 1 })).shape).toEqual([2, 3, 6, 5]);
    expect(() => preview(tensor([1]))).toThrow('[preview] latents: got [1], want [B, 4, h, w]');
  });
  test('find the factors of an autoencoder that is linear', async () => {
    const factors = [
      [0.3, -0.2, 0.1],
      [0.5, 0.4, -0.6],
      [0, 0.25, 1],
      [-0.1, 0.2, 0.05],
      [0.02, -0.3, 0.1],
    ] as const;
    const decode = (z: Tensor) => {
      const [B, , h, w] = z.shape as [number, number, number, number];
      const small = preview(z, factors).reshape([B, 3, h, 1, w, 1]).expand([B, 3, h, 2, w, 2]);
      return small.contiguous().reshape([B, 3, 2 * h, 2 * w]);
    };
    const found = await fitFactors(4, decode);
    expect(found.flat().map((v, i) => Math.abs(v - factors.flat()[i]!) < 1e-5)).toEqual(new Array(15).fill(true));
  });
});
