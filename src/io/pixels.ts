// Pictures in memory, and what is done to them without looking at their colours.

/** 8 bit pixels, row-major: grey (1), grey with alpha (2), RGB (3) or RGBA (4); alpha is not premultiplied. */
export type Pixels = { width: number; height: number; channels: number; data: Uint8Array };

/** RGB as Pillow's `convert('RGB')` gives it: grey is repeated, alpha is dropped. */
export function toRgb(image: Pixels): Pixels {
  const { width, height, channels, data } = image;
  if (channels === 3) return image;
  const colour = channels === 4 ? 1 : 0; // step between the colours of one pixel
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
    rgb[to] = data[from]!;
    rgb[to + 1] = data[from + colour]!;
    rgb[to + 2] = data[from + 2 * colour]!;
  }
  return { width, height, channels: 3, data: rgb };
}

/** RGB with transparent parts over white, as Pillow's `alpha_composite` over an opaque white picture gives it. */
export function overWhite(image: Pixels): Pixels {
  const rgb = toRgb(image);
  if (image.channels % 2 === 1) return rgb;
  const data = new Uint8Array(rgb.data.length);
  for (let i = 0, at = image.channels - 1; i < data.length; i += 3, at += image.channels) {
    const alpha = image.data[at]!;
    for (let c = i; c < i + 3; c++) {
      // 7 extra bits, divided by 255 and rounded.
      const sum = (rgb.data[c]! * alpha + 255 * (255 - alpha) + 128) << 7;
      data[c] = ((sum >> 8) + sum) >> 15;
    }
  }
  return { ...rgb, data };
}

/** `channels` of RGBA pixels: 3 drops alpha, 4 keeps them as they are. */
export function fromRgba(width: number, height: number, data: ArrayBufferView, channels: 3 | 4): Pixels {
  const rgba = { width, height, channels: 4, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  return channels === 4 ? rgba : toRgb(rgba);
}

/** Turned or mirrored as the EXIF orientation 1..8 says, like Pillow's `exif_transpose`. */
export function orient(image: Pixels, orientation: number): Pixels {
  if (!(orientation >= 2 && orientation <= 8)) return image;
  const { width: w, height: h, channels, data } = image;
  const swap = orientation >= 5;
  const [width, height] = swap ? [h, w] : [w, h];
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let [column, row] = swap ? [y, x] : [x, y];
      if ([2, 3, 7, 8].includes(orientation)) column = w - 1 - column;
      if ([3, 4, 6, 7].includes(orientation)) row = h - 1 - row;
      const from = (row * w + column) * channels;
      for (let c = 0; c < channels; c++) out[(y * width + x) * channels + c] = data[from + c]!;
    }
  }
  return { width, height, channels, data: out };
}

/** What `centerCrop` of a picture of this size keeps of it. */
export function middle(width: number, height: number, crop: { width: number; height: number }) {
  const [left, top] = [Math.max(0, cropStart(width, crop.width)), Math.max(0, cropStart(height, crop.height))];
  return { left, top, width: Math.min(width, crop.width), height: Math.min(height, crop.height) };
}

/** The middle `width` x `height` as transformers cuts it; where the picture is smaller, zeros (black) around it. */
export function centerCrop(image: Pixels, width: number, height: number): Pixels {
  const left = cropStart(image.width, width);
  const top = cropStart(image.height, height);
  const { channels, data } = image;
  const out = new Uint8Array(width * height * channels);
  const first = Math.max(0, -left);
  const end = Math.min(width, image.width - left);
  for (let y = Math.max(0, -top); y < Math.min(height, image.height - top); y++) {
    const from = (top + y) * image.width + left;
    out.set(data.subarray((from + first) * channels, (from + end) * channels), (y * width + first) * channels);
  }
  return { width, height, channels, data: out };
}

/** Where the crop begins in the picture; negative: that much is padded. */
function cropStart(size: number, crop: number): number {
  return size >= crop ? Math.floor((size - crop) / 2) : -Math.ceil((crop - size) / 2);
}

/** RGB pixels on a canvas of one colour, with their corner at (x, y). */
export function onCanvas(
  image: Pixels,
  [width, height]: readonly [number, number],
  colour: readonly number[],
  x: number,
  y: number,
): Pixels {
  const data = new Uint8Array(3 * width * height);
  for (let i = 0; i < data.length; i++) data[i] = colour[i % 3]!;
  for (let row = 0; row < image.height; row++) {
    const from = 3 * row * image.width;
    data.set(image.data.subarray(from, from + 3 * image.width), 3 * ((y + row) * width + x));
  }
  return { width, height, channels: 3, data };
}

/** RGB pixels in the middle of a square. */
export function squared(image: Pixels, colour: readonly number[]): Pixels {
  const { width, height } = image;
  const side = Math.max(width, height);
  if (width === height) return image;
  return onCanvas(image, [side, side], colour, Math.floor((side - width) / 2), Math.floor((side - height) / 2));
}
