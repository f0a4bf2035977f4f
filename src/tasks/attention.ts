// Where the words of an answer looked: the attention of their tokens to those of the picture, the mean of all heads and layers.
import { run } from '../exec/run.ts';
import type { Pixels } from '../io/pixels.ts';
import { tensor } from '../ops/create.ts';
import type { PixelValues } from './image-processor.ts';
import type { ImageTextGenerator } from './image-text-to-text.ts';
import { pixelsOf } from './llava-processor.ts';
import type { ImageInput } from './load-image.ts';

/** `map`: shares of a word's attention by patch, [rows, columns]; they are 1 together. `share`: of all that it looked at. */
export type WordMap = { word: string; share: number; map: number[][] };

/** `seen`: the picture as the tower saw it, cut and scaled; the maps lie on it. */
export type Looked = { seen: Pixels; words: WordMap[] };

/** Of an answer `ids` to a prompt with one picture; of a picture in tiles the maps are those of the tile that shows all of it. */
export async function attentionOf(
  { model, tokenizer, processor }: ImageTextGenerator,
  image: ImageInput,
  prompt_ids: readonly number[],
  ids: readonly number[],
): Promise<Looked> {
  const picture = await processor.prepare(image);
  const { tokens: size, tiles } = picture;
  const start = prompt_ids.indexOf(model.image_token_id);
  const all = [...prompt_ids, ...ids.slice(0, -1)]; // each token is chosen at the place before it
  const inputs = pixelsOf([picture]);
  using _ = inputs.pixel_values;
  using input_ids = tensor([all], { dtype: 'i32' });
  const taps = Array.from({ length: model.sizes.num_hidden_layers }, (_, i) =>
    model.tap(`language_model.model.layers.${i}.self_attn`),
  );
  try {
    model.forward({ ...inputs, input_ids });
  } finally {
    for (const tap of taps) tap.close();
  }
  const maps = taps.map((tap) => tap.attentions[0]!.mean(1).squeeze(0)); // [L, L]
  const mean = maps.reduce((sum, map) => sum.add(map)).div(maps.length);
  const looked = mean
    .narrow(0, prompt_ids.length - 1, ids.length)
    .narrow(1, start, size)
    .contiguous();
  await run([looked], { device: model.device });
  const data = await looked.data().finally(() => looked.dispose());
  const [whole] = tiles as [PixelValues];
  const each = tiles.length > 1 ? model.get_image_features({ pixel_values: inputs.pixel_values }).shape[1]! : size;
  const side = Math.floor(Math.sqrt(each));
  const first = each - side * side; // the class token
  const words = wordsOf(ids, tokenizer).map(({ word, tokens }) => {
    const sum = new Float64Array(side * side);
    let share = 0;
    for (const token of tokens) {
      for (let i = 0; i < side * side; i++) sum[i]! += data[token * size + first + i]!;
      for (let i = 0; i < size; i++) share += data[token * size + i]! / tokens.length;
    }
    const total = sum.reduce((a, b) => a + b, 0) || 1;
    const map = Array.from({ length: side }, (_, y) =>
      [...sum.subarray(y * side, (y + 1) * side)].map((v) => v / total),
    );
    return { word, share, map };
  });
  return { seen: processor.pixels(whole), words };
}

/** Words of an answer, and which of its tokens they are made of. */
function wordsOf(ids: readonly number[], tokenizer: ImageTextGenerator['tokenizer']) {
  const words: { word: string; tokens: number[] }[] = [];
  let before = '';
  for (const token of ids.keys()) {
    const text = tokenizer.decode(ids.slice(0, token + 1), { skip_special_tokens: true });
    const piece = text.slice(before.length);
    before = text;
    if (piece === '') continue;
    if (words.length === 0 || /^\s/.test(piece)) words.push({ word: '', tokens: [] });
    words.at(-1)!.word += piece.trim();
    words.at(-1)!.tokens.push(token);
  }
  return words.filter(({ word }) => word !== '');
}
