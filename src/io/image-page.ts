// JPEG and WebP by the decoders of a page or its worker.
import { fromRgba, type Pixels } from './pixels.ts';

/** Pixels as stored: no colour management, colours under transparent pixels kept. */
export async function decodeWith(kind: 'jpeg' | 'webp', bytes: Uint8Array, alpha: boolean): Promise<Pixels> {
  const file = new Blob([bytes as Uint8Array<ArrayBuffer>], { type: `image/${kind}` });
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const { width, height } = bitmap;
  try {
    if (alpha) return fromRgba(width, height, readTexture(bitmap), 4);
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!;
    context.drawImage(bitmap, 0, 0);
    return fromRgba(width, height, context.getImageData(0, 0, width, height).data, 3);
  } finally {
    bitmap.close();
  }
}

/** A 2D canvas multiplies colours by alpha and loses them; a texture does not. */
function readTexture(bitmap: ImageBitmap): Uint8Array {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext('webgl2');
  if (!gl) throw new Error('transparent WebP pictures need WebGL in a page. Save it as PNG.');
  const limit = gl.getParameter(gl.MAX_TEXTURE_SIZE) as number;
  if (Math.max(width, height) > limit)
    throw new Error(`transparent WebP: got ${width} x ${height}, want at most ${limit}`);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(
    gl.FRAMEBUFFER,
    gl.COLOR_ATTACHMENT0,
    gl.TEXTURE_2D,
    gl.getParameter(gl.TEXTURE_BINDING_2D),
    0,
  );
  const data = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return data;
}
