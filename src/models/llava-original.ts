// The original LLaVA before its language model: pictures as tokens, tiles of a large picture put together, and both in the place
// of placeholders. Reference: llava/model/llava_arch.py of https://github.com/haotian-liu/LLaVA.
// n = tokens of a tile, D = hidden_size of the language model.
import type { Size, Tiling } from '../io/anyres.ts';
import { IGNORE_INDEX, IMAGE_TOKEN_INDEX } from '../io/conversation.ts';
import { UserError } from '../io/error.ts';
import { type Config, pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { embedding } from '../nn/layers.ts';
import { concat, stack, tensor, zeros } from '../ops/index.ts';
import { checkOptions, checkTensorList, describe } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { imageFeatures } from './llava.ts';

export type MultimodalInputs = Tiling & {
  /** -200 for each picture. */
  input_ids: Rows;
  labels?: Rows | undefined;
  /** 1 for tokens, 0 for padding, which is taken out. */
  attention_mask?: Rows | undefined;
  /** Pictures [N, 3, S, S]; or each as its tiles, [N, tiles, 3, S, S] or a list of [tiles, 3, S, S] and [3, S, S]. */
  images: Tensor | readonly Tensor[];
  /** [width, height] of each picture, for its tiles. */
  image_sizes?: readonly Size[] | undefined;
  tokenizer_padding_side?: string | undefined;
  tokenizer_model_max_length?: number | null | undefined;
};

function llavaMeta(w: Weights, config: Config) {
  const { hidden_size: D, vocab_size: V } = config.text_config;
  const embed_tokens = embedding(w.at('language_model.model.embed_tokens'), V, D);
  const { image_tower, get_image_features, join } = imageFeatures(w, config, D);

  const encode_images = (images: Tensor) => {
    const pixel_values = images;
    return { tower: image_tower({ pixel_values }), features: get_image_features({ pixel_values }) };
  };

  function prepare_inputs_labels_for_multimodal(inputs: MultimodalInputs) {
    checkOptions('llava', inputs, '{ input_ids: [[1, -200]], images }', 'inputs');
    const { input_ids, attention_mask, images, image_sizes = [] } = inputs;
    checkRows({ input_ids });
    checkTensorList('llava', 'images', Array.isArray(images) ? images : [images]);
    const labels = inputs.labels ?? input_ids.map((row) => row.map(() => IGNORE_INDEX));
    checkRows({ labels, attention_mask }, input_ids);
    const pictures = pictureTokens(images, image_sizes, inputs);
    const isPicture = (id: number) => id === IMAGE_TOKEN_INDEX;
    let next = 0;
    const rows = input_ids.map((all, b) => {
      const kept = [...all.keys()].filter((i) => attention_mask?.[b]?.[i] !== 0);
      const parts: Tensor[] = [];
      const said: number[] = [];
      let ids: number[] = [];
      const flush = () => {
        if (ids.length > 0) parts.push(embed_tokens(tensor(ids, { dtype: 'i32' })));
        ids = [];
      };
      for (const i of kept) {
        if (!isPicture(all[i]!)) {
          ids.push(all[i]!);
          said.push(labels[b]![i]!);
          continue;
        }
        flush();
        const picture = pictures[next++];
        if (!picture) continue; // told below
        parts.push(picture);
        said.push(...new Array<number>(picture.shape[0]!).fill(IGNORE_INDEX));
      }
      flush();
      if (!kept.some((i) => isPicture(all[i]!))) next++; // has one that nobody sees
      const most = inputs.tokenizer_model_max_length ?? said.length;
      const embeds = parts.length > 0 ? concat(parts, 0) : zeros([0, D]);
      return { embeds: embeds.narrow(0, 0, Math.min(most, said.length)), said: said.slice(0, most) };
    });
    if (next !== pictures.length) {
      const of = `${next} image placeholders and rows without one`;
      throw new UserError(`[llava] got ${of} for ${pictures.length} pictures, want a picture for each`);
    }
    return padded(rows, inputs.tokenizer_padding_side === 'left', D);
  }

  /** Of each picture, [tokens, D]. */
  function pictureTokens(images: MultimodalInputs['images'], sizes: readonly Size[], inputs: Tiling): Tensor[] {
    if (!Array.isArray(images) && (images as Tensor).rank !== 5)
      return [...get_image_features({ pixel_values: images as Tensor }).split(1)].map((x) => x.squeeze(0));
    const given = Array.isArray(images) ? (images as Tensor[]) : (images as Tensor).split(1).map((x) => x.squeeze(0));
    const list = given.map((image) => (image.rank === 3 ? image.unsqueeze(0) : image));
    const all = get_image_features({ pixel_values: concat(list, 0) });
    let at = 0;
    return list.map(({ shape: [tiles] }, i) => {
      const own = all.narrow(0, at, tiles!);
      at += tiles!;
      return join(own, sizes[i], inputs);
    });
  }

  const dummy_inputs = {};
  return { encode_images, prepare_inputs_labels_for_multimodal, dummy_inputs };
}

type Rows = readonly (readonly number[])[];

/** Rows of numbers, of the lengths of `input_ids` where that is given. */
function checkRows(given: Record<string, Rows | undefined>, input_ids?: Rows): void {
  const lengths = (rows: Rows) => rows.map((row) => row.length).join();
  for (const [name, rows] of Object.entries(given)) {
    if (rows === undefined) continue;
    if (!Array.isArray(rows) || !rows.every(Array.isArray))
      throw new UserError(`[llava] ${name}: got ${describe(rows)}, want rows of tokens`);
    if (input_ids && lengths(rows) !== lengths(input_ids))
      throw new UserError(
        `[llava] ${name}: got rows of ${lengths(rows)}, want those of input_ids, ${lengths(input_ids)}`,
      );
  }
}

/** Rows of one length, padded with zeros. */
function padded(rows: readonly { embeds: Tensor; said: number[] }[], isLeft: boolean, D: number) {
  const L = Math.max(...rows.map(({ said }) => said.length));
  const fill = (row: readonly number[], value: number) => {
    const rest = new Array<number>(L - row.length).fill(value);
    return isLeft ? [...rest, ...row] : [...row, ...rest];
  };
  const embeds = rows.map(({ embeds }) => {
    const n = embeds.shape[0]!;
    if (n === L) return embeds;
    const rest = zeros([L - n, D]);
    return concat(isLeft ? [rest, embeds] : [embeds, rest], 0);
  });
  return {
    inputs_embeds: stack(embeds, 0),
    labels: rows.map(({ said }) => fill(said, IGNORE_INDEX)),
    attention_mask: rows.map(({ said }) =>
      fill(
        said.map(() => 1),
        0,
      ),
    ),
    position_ids: rows.map(({ said }) =>
      fill(
        said.map((_, i) => i),
        0,
      ),
    ),
  };
}

export const LlavaMetaForCausalLM = pretrained('LlavaMetaForCausalLM', llavaMeta);
