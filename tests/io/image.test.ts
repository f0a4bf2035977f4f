// Decoding against Pillow (fixtures/images.json): every PNG kind, JPEG, WebP; and what is said about files that are none of them.
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { decodeImage, encodePng } from '../../src/io/image.ts';
import { toRgb } from '../../src/io/pixels.ts';
import { fixturePath, fromBase64, readJson, valueOrMessage } from './support.ts';

type Picture = { file: string; width: number; height: number; channels: number; pixels: string; oriented?: Picture };
const { images, refused } = readJson(fixturePath('images.json')) as {
  images: Record<string, Picture>;
  refused: Record<string, string>;
};
const file = (name: string) => fromBase64(images[name]!.file);

describe('decodes as Pillow does', () => {
  test.each(Object.entries(images))('%s', async (_, want) => {
    const got = await decodeImage(fromBase64(want.file));
    expect(got).toEqual({
      width: want.width,
      height: want.height,
      channels: want.channels,
      data: fromBase64(want.pixels),
    });
    if (!want.oriented) return;
    const turned = await decodeImage(new Blob([fromBase64(want.file)]), { orient: true });
    expect([turned.width, turned.height]).toEqual([want.oriented.width, want.oriented.height]);
    expect(turned.data).toEqual(fromBase64(want.oriented.pixels));
  });
});

test('encodePng keeps every pixel', async () => {
  const pixels = fc
    .record({
      width: fc.integer({ min: 1, max: 20 }),
      height: fc.integer({ min: 1, max: 9 }),
      channels: fc.integer({ min: 1, max: 4 }),
    })
    .chain((size) =>
      fc
        .uint8Array({
          minLength: size.width * size.height * size.channels,
          maxLength: size.width * size.height * size.channels,
        })
        .map((data) => ({ ...size, data })),
    );
  await fc.assert(
    fc.asyncProperty(pixels, async (image) => {
      expect(await decodeImage(await encodePng(image))).toEqual(image);
    }),
    { numRuns: 50 },
  );
  await expect(encodePng({ width: 2, height: 2, channels: 3, data: new Uint8Array(3) })).rejects.toThrow(
    '[encodePng] got 3 bytes, 3 channels, want 2 x 2 x 1..4',
  );
});

test('RGB: grey is repeated, alpha dropped', () => {
  const rgb = (channels: number, data: number[]) => [
    ...toRgb({ width: 2, height: 1, channels, data: Uint8Array.from(data) }).data,
  ];
  expect(rgb(1, [1, 2])).toEqual([1, 1, 1, 2, 2, 2]);
  expect(rgb(2, [1, 9, 2, 9])).toEqual([1, 1, 1, 2, 2, 2]);
  expect(rgb(4, [1, 2, 3, 9, 4, 5, 6, 9])).toEqual([1, 2, 3, 4, 5, 6]);
});

describe('refuses, and says what it was given', () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const cases: [string, Uint8Array, string][] = [
    ['nothing', new Uint8Array(), 'this is an empty file, want PNG, JPEG or WebP'],
    ['a GIF', fromBase64(refused.gif!), 'this is a GIF picture'],
    ['a BMP', fromBase64(refused.bmp!), 'this is a BMP picture'],
    ['a TIFF', fromBase64(refused.tiff!), 'this is a TIFF picture'],
    ['a HEIC', text('\0\0\0\x18ftypheic\0\0\0\0mif1heic'), 'this is a HEIC picture'],
    ['an AVIF', text('\0\0\0\x1cftypavif\0\0\0\0'), 'this is an AVIF picture'],
    ['an SVG', text('<?xml version="1.0"?>\n<svg xmlns="x">'), 'this is an SVG drawing'],
    ['an HTML page', text('<!DOCTYPE html><html>'), 'this is an HTML page'],
    ['a PDF', text('%PDF-1.7'), 'this is a PDF document'],
    ['words', text('hello'), 'this is no known file type'],
    ['an animated WebP', fromBase64(refused['animated webp']!), 'an animated WebP: want a still picture'],
    ['a CMYK JPEG', fromBase64(refused.cmyk!), 'a JPEG in print colours (CMYK): want RGB'],
  ];
  test.each(cases)('%s', async (_, bytes, want) => {
    const { message } = await valueOrMessage(() => decodeImage(bytes, { name: 'photo' }));
    expect(message).toContain('[photo] ');
    expect(message).toContain(want);
  });

  test.each(Object.keys(images))('%s cut anywhere', async (name) => {
    const bytes = file(name);
    for (let length = 0; length < bytes.length; length += 7) {
      const { message } = await valueOrMessage(() => decodeImage(bytes.slice(0, length)));
      expect(message).toMatch(/cut off|empty|no known file type|damaged/);
    }
  });

  test('more than 100 megapixels, before decoding them', async () => {
    const huge = (bytes: Uint8Array, at: number, size: number[]) => {
      bytes.set(size, at);
      return valueOrMessage(() => decodeImage(bytes));
    };
    const png = await huge(file('png type 2 depth 8'), 16, [0, 1, 0, 0, 0, 1, 0, 0]);
    expect(png.message).toBe('[image] the picture is too large: got 65536 x 65536, want at most 100 megapixels');
    const jpeg = file('jpeg rgb');
    const frame = jpeg.findIndex((byte, i) => byte === 0xff && jpeg[i + 1] === 0xc0);
    expect((await huge(jpeg, frame + 5, [255, 255, 255, 255])).message).toContain('got 65535 x 65535');
    expect((await huge(file('webp lossy'), 26, [255, 63, 255, 63])).message).toContain('got 16383 x 16383');
  });

  test('a PNG whose pixels unpack to too few, or are no deflate stream', async () => {
    const short = file('png type 2 depth 8');
    const { message } = await valueOrMessage(async () => decodeImage(await withHeader(short, 12, 9)));
    expect(message).toMatch(/^\[image\] damaged PNG/);
  });

  test('a PNG with a bit flipped anywhere', async () => {
    const bytes = file('png type 3 depth 4 tRNS');
    for (let i = 0; i < bytes.length; i++) {
      const flipped = bytes.slice();
      flipped[i]! ^= 1 << (i % 8);
      expect([i, (await valueOrMessage(() => decodeImage(flipped))).message]).toEqual([i, expect.any(String)]);
    }
  });
});

test('a PNG is not unpacked past the size in its header', async () => {
  const data = new Uint8Array(4000 * 1000 * 3);
  const bomb = await withHeader(await encodePng({ width: 4000, height: 1000, channels: 3, data }), 10, 10);
  let unpacked = 0;
  const Real = DecompressionStream;
  vi.stubGlobal('DecompressionStream', function counted(format: CompressionFormat) {
    const { readable, writable } = new Real(format);
    const transform = (part: Uint8Array, out: TransformStreamDefaultController) => {
      unpacked += part.length;
      out.enqueue(part);
    };
    return { readable: readable.pipeThrough(new TransformStream({ transform })), writable };
  });
  try {
    expect((await decodeImage(bomb)).data).toEqual(data.subarray(0, 300));
  } finally {
    vi.unstubAllGlobals();
  }
  expect(unpacked).toBeGreaterThan(0);
  expect(unpacked).toBeLessThan(1e6);
});

/** A PNG with another size in its header and the checksum to it. */
async function withHeader(bytes: Uint8Array, width: number, height: number): Promise<Uint8Array> {
  const empty = await encodePng({ width, height, channels: 3, data: new Uint8Array(width * height * 3) });
  const changed = bytes.slice();
  changed.set(empty.subarray(16, 33), 16);
  return changed;
}

test('damaged pictures: pixels or a UserError, never anything else', async () => {
  const names = fc.constantFrom(...Object.keys(images).filter((name) => !name.includes('orientation')));
  const edits = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(255)), {
    minLength: 1,
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(names, edits, async (name, changes) => {
      const bytes = file(name);
      for (const [where, value] of changes) bytes[Math.floor(where * (bytes.length - 1))] = value;
      const { value } = await valueOrMessage(() => decodeImage(bytes));
      if (value) expect(value.data.length).toBe(value.width * value.height * value.channels);
    }),
    { numRuns: 300 },
  );
});

test('random bytes behind each magic number', async () => {
  const magic = fc.constantFrom(
    '\x89PNG\r\n\x1a\n',
    '\xff\xd8\xff',
    'RIFF\x40\0\0\0WEBPVP8 ',
    'RIFF\x40\0\0\0WEBPVP8L',
    'RIFF\x40\0\0\0WEBPVP8X',
    '',
  );
  await fc.assert(
    fc.asyncProperty(magic, fc.uint8Array({ maxLength: 200 }), async (start, rest) => {
      const head = Uint8Array.from(start, (c) => c.charCodeAt(0));
      await valueOrMessage(() => decodeImage(new Uint8Array([...head, ...rest])));
    }),
    { numRuns: 300 },
  );
});
