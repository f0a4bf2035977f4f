// A picture that was made: pixels, with the settings that made it, and the ways out for it.
import { UserError } from '../io/error.ts';
import { parseObject } from '../io/json.ts';
import type { Pixels } from '../io/pixels.ts';
import { encodePng } from '../io/png.ts';
import { pngTexts, textChunks } from '../io/png-text.ts';
import { writeWhole } from '../io/write.ts';
import { checkOptions, describe } from '../tensor/check.ts';
import { checkPixels } from './load-image.ts';

const KEYWORD = 'tessera'; // of the settings as JSON
type Settings = Readonly<Record<string, unknown>>;

/** Pixels as everything here takes them: 8 bits, row by row, 1 to 4 channels. */
export class Picture implements Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
  /** What made it, and would make it again; written into PNG files. */
  readonly settings: Settings;

  constructor(pixels: Pixels, settings: Settings = {}) {
    checkOptions('Picture', settings, '{ seed: 7 }', 'settings');
    const { width, height, channels, data } = checkPixels(pixels, 'Picture');
    this.width = width;
    this.height = height;
    this.channels = channels;
    this.data = data;
    this.settings = settings;
  }

  /** A PNG file, with the settings in it as texts: `tessera` (JSON), and `parameters`, if there are, for other programs. */
  async toPng(): Promise<Uint8Array<ArrayBuffer>> {
    const { parameters } = this.settings;
    const hasSettings = Object.keys(this.settings).length > 0;
    return encodePng(
      this,
      textChunks({
        ...(typeof parameters === 'string' && { parameters }),
        ...(hasSettings && { [KEYWORD]: JSON.stringify(this.settings) }),
      }),
    );
  }

  /** The same as a Blob; `type` other than 'image/png' is for a page, which has encoders for it, and loses the settings. */
  async toBlob(type = 'image/png', quality?: number): Promise<Blob> {
    if (type === 'image/png') return new Blob([await this.toPng()], { type });
    if (typeof OffscreenCanvas === 'undefined') {
      throw new UserError(
        `[toBlob] type: got ${describe(type)}, want 'image/png': others are made by pages and workers`,
      );
    }
    const canvas = this.#draw(new OffscreenCanvas(this.width, this.height));
    return canvas.convertToBlob({ type, ...(quality !== undefined && { quality }) });
  }

  /** A canvas that shows it: of the page, or an OffscreenCanvas in a worker. */
  toCanvas(): HTMLCanvasElement | OffscreenCanvas {
    const { width, height } = this;
    if (typeof document !== 'undefined')
      return this.#draw(Object.assign(document.createElement('canvas'), { width, height }));
    if (typeof OffscreenCanvas !== 'undefined') return this.#draw(new OffscreenCanvas(width, height));
    throw new UserError('[toCanvas] there is no canvas outside of a page or a worker: want save(path) or toBlob()');
  }

  #draw<C extends HTMLCanvasElement | OffscreenCanvas>(canvas: C): C {
    const pixels = new ImageData(this.toRgba(), this.width, this.height);
    (canvas.getContext('2d') as CanvasRenderingContext2D).putImageData(pixels, 0, 0);
    return canvas;
  }

  /** Its pixels as ImageData has them. */
  toRgba(): Uint8ClampedArray<ArrayBuffer> {
    const { width, height, channels, data } = this;
    const out = new Uint8ClampedArray(4 * width * height);
    const [colour, alpha] = [channels > 2 ? 1 : 0, channels % 2 === 0]; // step between colours
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) out[4 * i + c] = data[i * channels + c * colour]!;
      out[4 * i + 3] = alpha ? data[(i + 1) * channels - 1]! : 255;
    }
    return out;
  }

  /** Writes a PNG file, whole or not at all; in a page it is offered as a download. */
  async save(path: string): Promise<void> {
    if (!/\.png$/i.test(path)) throw new UserError(`[save] path: got ${describe(path)}, want one that ends with .png`);
    const png = await this.toPng();
    if (globalThis.process?.versions?.node) return writeWhole(path, (write) => write(png));
    if (typeof document === 'undefined')
      throw new UserError('[save] a worker has no files: want toBlob(), or save in the page');
    const href = URL.createObjectURL(new Blob([png], { type: 'image/png' }));
    Object.assign(document.createElement('a'), { href, download: path }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000); // the download has begun by then
  }
}

/** The settings in a PNG file that `Picture` wrote. Throws a UserError where there are none. */
export async function settingsOf(file: Uint8Array, name = 'png'): Promise<Record<string, unknown>> {
  const text = (await pngTexts(file, name))[KEYWORD];
  if (text !== undefined) return parseObject(text, name);
  throw new UserError(`[${name}] has no settings in it: want a PNG file that was made here, as it was written`);
}

/** Pictures of one size beside and below each other, as diffusers' function of that name; by default about as many rows as columns. */
export function make_image_grid(images: readonly Pixels[], rows?: number, cols?: number): Picture {
  if (!Array.isArray(images)) throw new UserError(`[make_image_grid] images: got ${describe(images)}, want an array`);
  if (images.length === 0) throw new UserError('[make_image_grid] images: got none, want at least one');
  for (const [what, n] of Object.entries({ rows, cols })) {
    const isCount = Number.isInteger(n ?? 1) && (n ?? 1) > 0;
    if (!isCount) throw new UserError(`[make_image_grid] ${what}: got ${describe(n)}, want a whole number from 1`);
  }
  const [first, ...rest] = images.map((image, i) => checkPixels(image, `picture ${i + 1}`)) as [Pixels, ...Pixels[]];
  const { width, height, channels } = first;
  const other = rest.find((p) => p.width !== width || p.height !== height || p.channels !== channels);
  if (other) {
    const got = `${other.width} x ${other.height} x ${other.channels} beside ${width} x ${height} x ${channels}`;
    throw new UserError(`[make_image_grid] images: got ${got}, want one size`);
  }
  const columns = cols ?? Math.ceil(rows ? images.length / rows : Math.sqrt(images.length));
  const lines = rows ?? Math.ceil(images.length / columns);
  const cells = columns * lines;
  if (cells < images.length || cells * first.data.length >= 2 ** 32) {
    const want = `room for ${images.length} pictures, and less than 4 GB`;
    throw new UserError(`[make_image_grid] got ${lines} rows x ${columns} columns, want ${want}`);
  }
  const stride = columns * width * channels;
  const data = new Uint8Array(lines * height * stride);
  for (const [i, picture] of [first, ...rest].entries()) {
    const at = Math.floor(i / columns) * height * stride + (i % columns) * width * channels;
    for (let y = 0; y < height; y++) {
      data.set(picture.data.subarray(y * width * channels, (y + 1) * width * channels), at + y * stride);
    }
  }
  return new Picture({ width: columns * width, height: lines * height, channels, data });
}
