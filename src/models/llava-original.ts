// The original LLaVA before its language model: pictures as tokens, tiles of a large picture put together, and both in the place
// of placeholders. Reference: llava/model/llava_arch.py of https://github.com/haotian-liu/LLaVA.
// n = tokens of a tile, D = hidden_size of the language model.
import { get_anyres_image_grid_shape, type Size, unpadded } from '../io/anyres.ts';
import { UserError } from '../io/error.ts';
import { type Config, pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { embedding } from '../nn/layers.ts';
import { concat, stack, tensor, zeros } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { imageFeatures } from './llava.ts';

export const IMAGE_TOKEN_INDEX = -200;
const IGNORED = -100;

export type MultimodalInputs = {
  /** -200 for each picture. */
  input_ids: readonly (readonly number[])[];
  labels?: readonly (readonly number[])[] | undefined;
  /** 1 for tokens, 0 for padding, which is taken out. */
  attention_mask?: readonly (readonly number[])[] | undefined;
  /** Pictures [N, 3, S, S], or each as its tiles, [tiles, 3, S, S]. */
  images: Tensor | readonly Tensor[];
  /** [width, height] of each picture, for its tiles. */
  image_sizes?: readonly Size[] | undefined;
  mm_patch_merge_type?: string | undefined;
  image_aspect_ratio?: string | undefined;
  image_grid_pinpoints?: readonly Size[] | undefined;
  tokenizer_padding_side?: string | undefined;
  tokenizer_model_max_length?: number | null | undefined;
};

function llavaMeta(w: Weights, config: Config) {
  const { hidden_size: D, vocab_size: V } = config.text_config;
  const embed_tokens = embedding(w.at('language_model.model.embed_tokens'), V, D);
  const { image_tower, get_image_features } = imageFeatures(w, config, D);
  const image_newline = w.maybe('image_newline', [D]);
  const { image_size, patch_size } = config.vision_config;
  const side = Math.floor(image_size / patch_size); // of the grid of a tile

  const encode_images = (images: Tensor) => {
    const pixel_values = images;
    return { tower: image_tower({ pixel_values }), features: get_image_features({ pixel_values }) };
  };

  /** The tokens of a picture [n, D] from those of its tiles [tiles, n, D]: all of it first. */
  function merge(tiles: Tensor, size: Size | undefined, inputs: MultimodalInputs): Tensor {
    const { mm_patch_merge_type = 'flat', image_aspect_ratio = 'square', image_grid_pinpoints = [] } = inputs;
    const isUnpadded = mm_patch_merge_type.includes('unpad');
    if (isUnpadded && !image_newline)
      throw new UserError('[llava] the checkpoint has no image_newline, which unpad wants');
    if (mm_patch_merge_type === 'flat') return tiles.flatten(0, 1);
    if (!mm_patch_merge_type.startsWith('spatial')) {
      throw new UserError(
        `[llava] mm_patch_merge_type: got ${mm_patch_merge_type}, want flat, spatial or spatial_unpad`,
      );
    }
    const whole = tiles.select(0, 0);
    if (tiles.shape[0] === 1) return isUnpadded ? concat([whole, image_newline!.unsqueeze(0)], 0) : whole;
    if (image_aspect_ratio !== 'anyres' || !size) throw new UserError('[llava] tiles want anyres, and image_sizes');
    const [across, down] = get_anyres_image_grid_shape(size, image_grid_pinpoints, image_size);
    const grid = tiles.slice(0, 1).reshape([down, across, side, side, D]).permute([0, 2, 1, 3, 4]);
    if (!isUnpadded) return concat([whole, grid.reshape([-1, D])], 0);
    const all = grid.reshape([down * side, across * side, D]);
    const { rows, columns } = unpadded(size, [down * side, across * side]);
    const kept = all.narrow(0, rows[0], rows[1] - rows[0]).narrow(1, columns[0], columns[1] - columns[0]);
    const ends = image_newline!.expand([kept.shape[0]!, 1, D]);
    return concat([whole, concat([kept, ends], 1).reshape([-1, D])], 0);
  }

  function prepare_inputs_labels_for_multimodal(inputs: MultimodalInputs) {
    const { input_ids, attention_mask, images, image_sizes = [] } = inputs;
    const labels = inputs.labels ?? input_ids.map((row) => row.map(() => IGNORED));
    const pictures = pictureTokens(images, image_sizes, inputs);
    let next = 0;
    const rows = input_ids.map((all, b) => {
      const kept = all.flatMap((_, i) => (attention_mask?.[b]?.[i] === 0 ? [] : [i]));
      const parts: Tensor[] = [];
      const said: number[] = [];
      let ids: number[] = [];
      const flush = () => {
        if (ids.length > 0) parts.push(embed_tokens(tensor(ids, { dtype: 'i32' })));
        ids = [];
      };
      const count = kept.filter((i) => all[i] === IMAGE_TOKEN_INDEX).length;
      if (count === 0) next++; // a row without a picture has one that nobody sees
      for (const i of kept) {
        if (all[i] !== IMAGE_TOKEN_INDEX) {
          ids.push(all[i]!);
          said.push(labels[b]![i]!);
          continue;
        }
        flush();
        const picture = pictures[next++];
        if (!picture)
          throw new UserError(`[llava] got ${next} image placeholders for ${pictures.length} pictures, want as many`);
        parts.push(picture);
        said.push(...new Array<number>(picture.shape[0]!).fill(IGNORED));
      }
      flush();
      const most = inputs.tokenizer_model_max_length ?? said.length;
      return { embeds: concat(parts, 0).narrow(0, 0, Math.min(most, said.length)), said: said.slice(0, most) };
    });
    if (next !== pictures.length) {
      throw new UserError(`[llava] got ${next} image placeholders for ${pictures.length} pictures, want as many`);
    }
    return padded(rows, inputs.tokenizer_padding_side === 'left', D);
  }

  function pictureTokens(
    images: Tensor | readonly Tensor[],
    sizes: readonly Size[],
    inputs: MultimodalInputs,
  ): Tensor[] {
    if (!Array.isArray(images))
      return [...get_image_features({ pixel_values: images as Tensor }).split(1)].map((x) => x.squeeze(0));
    const list = images as readonly Tensor[];
    const all = get_image_features({ pixel_values: concat(list, 0) });
    let at = 0;
    return list.map(({ shape: [tiles] }, i) => {
      const own = all.narrow(0, at, tiles!);
      at += tiles!;
      return merge(own, sizes[i], inputs);
    });
  }

  const dummy_inputs = {};
  return { encode_images, prepare_inputs_labels_for_multimodal, dummy_inputs };
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
    labels: rows.map(({ said }) => fill(said, IGNORED)),
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
