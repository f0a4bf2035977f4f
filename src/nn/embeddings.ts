// How tokens and pictures enter a transformer.
import type { Weights } from '../io/weights.ts';
import { checkOptions, checkTensors } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { conv2d, embedding, type Layer } from './layers.ts';

/** What a tower is called with, under the names of transformers. */
export type TextInputs = { input_ids: Tensor; attention_mask?: Tensor | undefined };
export type ImageInputs = { pixel_values: Tensor };

type TextConfig = { vocab_size: number; max_position_embeddings: number; hidden_size: number };
type VisionConfig = { image_size: number; patch_size: number; num_channels: number; hidden_size: number };

/** What a tower is called with, once it has the tensor that it needs. */
export function checkInputs<T extends object>(where: string, inputs: T, needed: keyof T & string): T {
  checkOptions(where, inputs, `{ ${needed} }`, 'inputs');
  checkTensors(where, { [needed]: inputs[needed] });
  return inputs;
}

/** Tokens plus learned positions: ids [B, L] to [B, L, D]. */
export function textEmbeddings(w: Weights, c: TextConfig): Layer {
  const tokens = embedding(w.at('token_embedding'), c.vocab_size, c.hidden_size);
  const positions = w.get('position_embedding.weight', [c.max_position_embeddings, c.hidden_size]);
  return (ids) => {
    const [, L] = ids.shape;
    if (ids.rank !== 2 || L! > c.max_position_embeddings) {
      throw new RangeError(
        `[text] input_ids: got [${ids.shape}], want [B, L], L at most ${c.max_position_embeddings}; truncate the text`,
      );
    }
    return tokens(ids).add(positions.narrow(0, 0, L!));
  };
}

/** Patches of a picture projected: [B, C, S, S] to [B, (S / P)^2, D]. */
export function patchEmbedding(w: Weights, c: VisionConfig, { bias }: { bias: boolean }): Layer {
  const { hidden_size: D, image_size: S, patch_size: P, num_channels: C } = c;
  const project = conv2d(w, C, D, { kernel_size: P, stride: P, bias });
  return (pixels) => {
    const [B, ...size] = pixels.shape;
    if (pixels.rank !== 4 || `${size}` !== `${[C, S, S]}`) {
      throw new RangeError(
        `[vision] pixel_values: got [${pixels.shape}], want [${B}, ${C}, ${S}, ${S}]; use the model's processor`,
      );
    }
    return project(pixels).flatten(2).transpose(1, 2);
  };
}

/** Embeddings x [B, L, D] with rows [n, D] in their place where `at` [B, L] names one; -1 leaves a token. */
export function insert(x: Tensor, at: Tensor, rows: Tensor): Tensor {
  const put = rows.index_select(0, at.maximum(0).flatten()).reshape(x.shape);
  return at.ge(0).unsqueeze(-1).where(put, x);
}

/** Which keys a batch may look at, from attention_mask [B, L] of 1 and 0, or [B, 1, L, L] for each token: [B, 1, 1 or L, L]. */
export function keyMask(attention_mask: Tensor | undefined): Tensor | undefined {
  checkTensors('text', {}, { attention_mask });
  return attention_mask?.rank === 4 ? attention_mask.ne(0) : attention_mask?.ne(0).unsqueeze(1).unsqueeze(1);
}
