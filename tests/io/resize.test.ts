// Pillow's own results (fixtures/resize.json), bit for bit.
import { describe, expect, test } from 'vitest';
import { FILTERS, resize } from '../../src/io/resize.ts';
import { sha256 } from '../sha256.ts';
import { fixturePath, fromBase64, readJson } from './support.ts';

type Picture = { width: number; height: number; channels: number; pixels: string };
type Case = { image: string; filter: number; width: number; height: number; pixels?: string; sha256?: string };
const { images, cases } = readJson(fixturePath('resize.json')) as { images: Record<string, Picture>; cases: Case[] };

describe.each(FILTERS.map((name, id) => [name, id] as const))('%s', (name, id) => {
  const mine = cases.filter((c) => c.filter === id);
  test.each(mine.map((c) => [`${c.image} to ${c.width} x ${c.height}`, c] as const))('%s', async (_, c) => {
    const { pixels, ...size } = images[c.image]!;
    const got = resize({ ...size, data: fromBase64(pixels) }, c.width, c.height, name);
    expect([got.width, got.height, got.channels]).toEqual([c.width, c.height, size.channels]);
    if (c.pixels) expect(got.data).toEqual(fromBase64(c.pixels));
    else expect(await sha256(got.data)).toBe(c.sha256);
    const part = { left: c.width >> 2, top: c.height >> 1, width: (c.width + 1) >> 1, height: (c.height + 1) >> 1 };
    const some = resize({ ...size, data: fromBase64(pixels) }, c.width, c.height, name, part);
    expect([some.width, some.height, some.channels]).toEqual([part.width, part.height, size.channels]);
    for (let y = 0; y < part.height; y++) {
      const [row, from] = [part.width * size.channels, ((part.top + y) * c.width + part.left) * size.channels];
      expect(some.data.subarray(y * row, (y + 1) * row)).toEqual(got.data.subarray(from, from + row));
    }
  });
});

test('refuses sizes that are no picture', () => {
  const image = { width: 1, height: 1, channels: 3, data: new Uint8Array(3) };
  expect(() => resize(image, 0, 1)).toThrow('[resize] size: got 0 x 1, want integers > 0');
  expect(() => resize(image, 1.5, 1)).toThrow('[resize] size: got 1.5 x 1, want integers > 0');
});
