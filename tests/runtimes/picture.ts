// A picture's ways out of a page and of a worker.
import { load_image, Picture } from '../../src/index.ts';

export async function main() {
  const data = Uint8Array.from({ length: 4 * 3 * 3 }, (_, i) => 7 * i);
  const picture = new Picture({ width: 4, height: 3, channels: 3, data }, { seed: 7 });
  const canvas = picture.toCanvas();
  const shown = (canvas.getContext('2d') as CanvasRenderingContext2D).getImageData(0, 0, 4, 3).data;
  const isSame = (got: ArrayLike<number>) => data.every((v, i) => got[Math.floor(i / 3) * 4 + (i % 3)] === v);
  const jpeg = await picture.toBlob('image/jpeg', 0.9);
  const png = await load_image(await picture.toBlob());
  let saved = '';
  if (typeof document !== 'undefined') {
    HTMLAnchorElement.prototype.click = function (this: HTMLAnchorElement) {
      saved = `${this.download} from ${this.href.slice(0, 5)}`; // without it a browser would ask where to
    };
  }
  const error = await picture.save('out.png').then(
    () => '',
    (e: Error) => e.message,
  );
  return {
    canvas: [canvas.constructor.name, canvas.width, canvas.height, isSame(shown)],
    blobs: [jpeg.type, png.width, png.data.every((v, i) => v === data[i])],
    saved: saved || error,
  };
}
