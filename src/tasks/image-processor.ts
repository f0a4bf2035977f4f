// Pictures to model inputs, as preprocessor_config.json says. Reference: transformers' CLIPImageProcessor and SiglipImageProcessor
// (their Pillow versions): RGB, resize, centre crop, rescale, normalise. Transparent parts become white, as since transformers 5;
// version 4 dropped the alpha channel instead.
import { UserError } from '../io/error.ts';
import { MAX_PIXELS } from '../io/image.ts';
import { isObject } from '../io/json.ts';
import { centerCrop, middle, overWhite, type Pixels, squared } from '../io/pixels.ts';
import { FILTERS, type Filter, resize } from '../io/resize.ts';

/** [3, H, W] of one picture. */
export type PixelValues = { data: Float32Array; shape: [3, number, number] };
/** `name` is what errors call the picture. */
export type ImageProcessor = {
  (image: Pixels, name?: string): PixelValues;
  /** The mean colour that is taken away, 0..1. */
  mean: readonly number[];
  /** Of the square that it cuts out, in pixels. */
  side: number | undefined;
  /** What it made of a picture, as a picture again. */
  pixels(values: PixelValues): Pixels;
};

type Config = Record<string, unknown>;
type Size = { width: number; height: number };

/** Classes with these steps, under the names that they have had; any other may do something else. */
const KNOWN = /^(CLIP|Siglip|Llava)(?:ImageProcessor(?:Fast|Pil)?|FeatureExtractor)$/;
const CLIP = {
  size: { shortest_edge: 224 },
  crop: true,
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
};
const SIGLIP = { size: { height: 224, width: 224 }, crop: false, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };

/**
 * A processor from the parsed preprocessor_config.json, or from the processor_config.json that holds one as `image_processor`.
 * Fields that are absent have their class's default. Throws a UserError for a field or class that it does not know.
 */
export function imageProcessor(config: Config, where = 'preprocessor_config.json'): ImageProcessor {
  const c = isObject(config.image_processor) ? config.image_processor : config;
  const kind = c.image_processor_type ?? c.feature_extractor_type ?? 'CLIPImageProcessor';
  const family = typeof kind === 'string' ? KNOWN.exec(kind)?.[1] : undefined;
  if (!family) {
    throw new UserError(
      `[${where}] image processor ${JSON.stringify(kind)} is not supported here: want CLIP's, SigLIP's or LLaVA's`,
    );
  }
  const defaults = family === 'Siglip' ? SIGLIP : CLIP;
  const pads = family === 'Llava' && c.do_pad === true; // to a square, by the mean colour
  if (c.do_pad === true && !pads)
    throw new UserError(`[${where}] do_pad is not supported: want pictures resized and cropped`);
  const read = reader(c, where);
  const target = read.flag('do_resize', true) ? targetSize(c.size ?? defaults.size, where) : undefined;
  const filter = read.filter('resample');
  const crop = read.flag('do_center_crop', defaults.crop) ? cropSize(c.crop_size ?? 224, where) : undefined;
  const scale = read.flag('do_rescale', true) ? read.number('rescale_factor', 1 / 255) : 1;
  const normalize = read.flag('do_normalize', true);
  const mean = read.triple('image_mean', defaults.mean);
  const std = read.triple('image_std', defaults.std, (v) => Math.fround(v) !== 0, 'three numbers other than 0');
  const tables = [0, 1, 2].map((i) => levels(scale, normalize ? mean[i]! : 0, normalize ? std[i]! : 1));
  const process = (image: Pixels, name = 'image') => {
    let picture = overWhite(image);
    if (pads)
      picture = squared(
        picture,
        mean.map((m) => Math.trunc(m * 255)),
      );
    if (target) {
      const { width, height } = target(picture);
      const part = crop ? middle(width, height, crop) : { left: 0, top: 0, width, height };
      if (part.width * part.height > MAX_PIXELS) {
        throw new UserError(
          `[${name}] a picture of ${image.width} x ${image.height} would become ${width} x ${height}: crop it to a less extreme shape`,
        );
      }
      picture = resize(picture, width, height, filter, part);
    }
    if (crop) picture = centerCrop(picture, crop.width, crop.height);
    return planes(picture, tables);
  };
  const pixels = (values: PixelValues) => interleaved(values, tables);
  return Object.assign(process, { mean, side: crop?.height, pixels });
}

/** What each of the 256 levels becomes: value * scale in float64 rounded to f32, then (x - mean) / std in f32. */
function levels(scale: number, mean: number, std: number): Float32Array {
  return Float32Array.from(
    { length: 256 },
    (_, value) => Math.fround(Math.fround(value * scale) - Math.fround(mean)) / Math.fround(std),
  );
}

/** Interleaved bytes to [3, H, W] floats. */
function planes({ width, height, data }: Pixels, tables: readonly Float32Array[]): PixelValues {
  const area = width * height;
  const out = new Float32Array(3 * area);
  for (let c = 0; c < 3; c++) {
    const table = tables[c]!;
    for (let i = 0; i < area; i++) out[c * area + i] = table[data[3 * i + c]!]!;
  }
  return { data: out, shape: [3, height, width] };
}

/** [3, H, W] floats to interleaved bytes: the levels that they were. */
function interleaved({ data, shape: [, height, width] }: PixelValues, tables: readonly Float32Array[]): Pixels {
  const area = width * height;
  const out = new Uint8Array(3 * area);
  for (let c = 0; c < 3; c++) {
    const [least, most] = [tables[c]![0]!, tables[c]![255]!];
    for (let i = 0; i < area; i++) out[3 * i + c] = Math.round((255 * (data[c * area + i]! - least)) / (most - least));
  }
  return { width, height, channels: 3, data: out };
}

/** `size` as a function of the picture: a number or {shortest_edge} keeps its shape, {height, width} does not. */
function targetSize(size: unknown, where: string): (image: Size) => Size {
  const edge = isObject(size) && Object.keys(size).join() === 'shortest_edge' ? size.shortest_edge : size;
  if (isCount(edge)) {
    return ({ width, height }) => {
      const long = Math.trunc((edge * Math.max(width, height)) / Math.min(width, height));
      return width <= height ? { width: edge, height: long } : { width: long, height: edge };
    };
  }
  const fixed = cropSize(size, where, 'size');
  return () => fixed;
}

function cropSize(size: unknown, where: string, name = 'crop_size'): Size {
  if (isCount(size)) return { width: size, height: size };
  if (isObject(size) && isCount(size.height) && isCount(size.width)) return { width: size.width, height: size.height };
  const wanted = `${name === 'size' ? '{shortest_edge}, ' : ''}{height, width} or a number`;
  throw new UserError(`[${where}] ${name}: got ${JSON.stringify(size)}, want ${wanted}`);
}

/** Larger than any model's input; a typing error here would ask for gigabytes. */
const isCount = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) <= 8192;

/** Fields of a config with their types checked. */
function reader(c: Config, where: string) {
  const field = <T>(name: string, otherwise: T, good: (value: unknown) => boolean, want: string): T => {
    const value = c[name] ?? otherwise;
    if (good(value)) return value as T;
    throw new UserError(`[${where}] ${name}: got ${JSON.stringify(value)}, want ${want}`);
  };
  const isNumber = (value: unknown) => Number.isFinite(value);
  return {
    flag: (name: string, otherwise: boolean) => field(name, otherwise, (v) => typeof v === 'boolean', 'true or false'),
    number: (name: string, otherwise: number) => field(name, otherwise, isNumber, 'a number'),
    triple(name: string, otherwise: number[], fits = (_: number) => true, want = 'three numbers') {
      const good = (v: unknown) => Array.isArray(v) && v.length === 3 && v.every((one) => isNumber(one) && fits(one));
      return field(name, otherwise, good, want);
    },
    filter(name: string): Filter {
      const id = field(name, FILTERS.indexOf('bicubic'), (v) => FILTERS[v as number] !== undefined, '0 to 5');
      return FILTERS[id]!;
    },
  };
}
