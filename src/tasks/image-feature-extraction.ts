// What a vision tower says of pictures, as transformers' pipeline of that name has it. B = pictures, L = tokens (patches, and
// before them CLIP's class token), D = hidden_size of the tower.
import { run } from '../exec/run.ts';
import { UserError } from '../io/error.ts';
import { lookUp } from '../io/locate.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import { tensor } from '../ops/index.ts';
import { checkOptions, checkSignal } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { AutoModelForImageFeatureExtraction, AutoProcessor, identify, type ModelSource, VISION } from './auto.ts';
import { checkFiniteRows } from './finite.ts';
import { type ImageInput, nameOf } from './load-image.ts';

export type FeatureOptions = {
  /** The pooled output in place of the last hidden state. */
  pool?: boolean | null | undefined;
  /** Each vector of D numbers is divided by its length. */
  normalize?: boolean | undefined;
  /** Pictures in one run. */
  batch_size?: number | undefined;
  signal?: AbortSignal | undefined;
};

/** f32 [B, L, D], or [B, D] with `pool`, for one picture too; on the model's device until it is disposed of. */
type Extract = (images: ImageInput | readonly ImageInput[], options?: FeatureOptions) => Promise<Tensor>;

export type ImageFeatureExtractor = Extract & {
  /** The vision tower. */
  model: Awaited<ReturnType<typeof AutoModelForImageFeatureExtraction.from_pretrained>>;
  model_type: string;
  dispose(): void;
  [Symbol.dispose](): void;
};

const TASK = 'image-feature-extraction';

/**
 * An extractor on the vision tower of a CLIP or SigLIP, or on such a tower by itself: `await extract(images)` is its
 * `last_hidden_state` [B, L, D] - CLIP's before `post_layernorm`, SigLIP's behind it, as in transformers. With `pool: true` it
 * is its `pooler_output`, [B, D] - CLIP's class token through `post_layernorm`, before `visual_projection`; SigLIP's attention
 * pooling, which is `get_image_features` too. CLIP's projected embedding (`image_embeds`, all that transformers.js has for
 * CLIP here) is `get_image_features` of CLIPModel. No row depends on the other pictures.
 *
 * Throws a UserError when the folder is none of these or lacks its processor, when there are no pictures, and for `pool` of a
 * tower without a pooler (SigLIP's `vision_use_head: false`); an Error when the model gives no numbers.
 */
export async function imageFeatureExtraction(
  source: ModelSource,
  options: FromPretrained = {},
): Promise<ImageFeatureExtractor> {
  options.signal?.throwIfAborted();
  const from = await lookUp(source, options);
  const { model_type } = await identify(from, options, VISION);
  const processor = await AutoProcessor.from_pretrained(from);
  const model = await AutoModelForImageFeatureExtraction.from_pretrained(from, options);

  /** The features of one batch; nothing stays on the device. */
  async function features(
    images: readonly ImageInput[],
    names: readonly string[],
    { pool, normalize, signal }: FeatureOptions,
  ): Promise<{ shape: readonly number[]; data: Float32Array }> {
    using pixel_values = (await processor(images, names)).pixel_values;
    const { last_hidden_state, pooler_output } = model.forward({ pixel_values });
    const found = (pool ? pooler_output : last_hidden_state)?.to('f32');
    if (!found) throw new UserError(`[${TASK}] pool: this ${model_type} has no pooler, leave pool out`);
    using result = normalize ? found.normalize() : found;
    await run([result], { signal });
    const data = (await result.data()) as Float32Array;
    checkFiniteRows(TASK, names, data);
    return { shape: result.shape, data };
  }

  const extract: Extract = async (images, options = {}) => {
    checkOptions(TASK, options, '{ pool: true }');
    const { batch_size = 8, signal } = options;
    checkSignal(TASK, signal);
    if (!(Number.isInteger(batch_size) && batch_size > 0)) {
      throw new UserError(`[${TASK}] batch_size: got ${batch_size}, want a whole number from 1`);
    }
    const list: readonly ImageInput[] = Array.isArray(images) ? images : [images as ImageInput];
    if (list.length === 0) throw new UserError(`[${TASK}] no pictures: want at least one`);
    const names = list.map((image, i) => nameOf(image, list.length > 1 ? `picture ${i + 1}` : 'image'));
    let all = new Float32Array();
    let [row, size]: [readonly number[], number] = [[], 0]; // of one picture
    for (let at = 0; at < list.length; at += batch_size) {
      signal?.throwIfAborted();
      const { shape, data } = await features(
        list.slice(at, at + batch_size),
        names.slice(at, at + batch_size),
        options,
      );
      if (at === 0) {
        row = shape.slice(1);
        size = data.length / shape[0]!;
        all = new Float32Array(list.length * size);
      }
      all.set(data, at * size);
    }
    const result = tensor(all, [list.length, ...row]);
    await run([result], { device: model.device });
    return result;
  };

  const dispose = () => model.dispose();
  return Object.assign(extract, { model, model_type, dispose, [Symbol.dispose]: dispose });
}
