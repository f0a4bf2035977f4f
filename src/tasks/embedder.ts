// Pictures or texts as points of one space: the embeddings of a CLIP or SigLIP. N = inputs, E = embedding.
import { run } from '../exec/run.ts';
import { UserError } from '../io/error.ts';
import { lookUp } from '../io/locate.ts';
import type { FromPretrained, Pretrained } from '../io/pretrained.ts';
import { CLIPTextModelWithProjection, CLIPVisionModelWithProjection } from '../models/clip.ts';
import { SiglipTextModel, SiglipVisionModel } from '../models/siglip.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { identify, loadImageProcessor, type ModelSource, modelOf, stack } from './auto.ts';
import { checkFiniteRows } from './finite.ts';
import type { PixelValues } from './image-processor.ts';
import { load_image } from './load-image.ts';
import { type Length, sentences } from './sentences.ts';

export type Kind = 'pictures' | 'texts';

export type EmbedOptions = {
  /** Each row is divided by its length. */
  normalize?: boolean | undefined;
  batch_size?: number | undefined;
  /** Told of an input that cannot be read, which is left out; without it that is an error. */
  on_error?: ((input: string, error: UserError) => void) | undefined;
  on_progress?: ((done: number) => void) | undefined;
  signal?: AbortSignal | undefined;
};

/** `data` is [inputs, E], one row for each of `inputs`: those that could be read. */
export type Embeddings = { inputs: string[]; shape: [number, number]; data: Float32Array };

/** What gives the embeddings of a kind. SigLIP's are those of its towers. */
const TOWERS = {
  clip: { texts: CLIPTextModelWithProjection, pictures: CLIPVisionModelWithProjection },
  siglip: { texts: SiglipTextModel, pictures: SiglipVisionModel },
};
type Found = { text_embeds?: Tensor; image_embeds?: Tensor; pooler_output?: Tensor };

export type Embedder = {
  (inputs: readonly string[], options?: EmbedOptions): Promise<Embeddings>;
  /** The one tower that it takes. */
  model: Pretrained<object>;
  model_type: string;
  /** Of a text; an embedder of texts has it. What is longer than the model reads is cut. */
  lengthOf: ((text: string) => Length) | undefined;
  dispose(): void;
  [Symbol.dispose](): void;
};

/** The inputs of a batch that could be read, and what the model makes of them: [N, E], not computed yet. */
type Batch = { inputs: string[]; given: Tensor; features: Tensor };
type Attempt = <T>(input: string, work: () => Promise<T>) => Promise<T | undefined>;

/**
 * `get_image_features` of pictures (paths or addresses) or `get_text_features` of texts, batch by batch; no row depends on the
 * others. Reads one tower, and the tokenizer for texts alone, the processor for pictures alone. Throws as zero-shot classification does.
 */
export async function embedder(source: ModelSource, kind: Kind, options: FromPretrained = {}): Promise<Embedder> {
  const from = await lookUp(source, options);
  const { model_type, config } = await identify(from, options);
  const idsOf = kind === 'texts' ? await sentences(from, model_type, config) : undefined;
  const prepare = kind === 'pictures' ? await loadImageProcessor(from) : undefined;
  const model = await TOWERS[model_type][kind].from_pretrained(from, options);
  const whole = modelOf(config, model.name).from_config(config).named_parameters();
  model.unused = model.unused.filter((name) => !whole.has(name)); // the other tower is there for others

  const features = (inputs: object): Tensor => {
    const { text_embeds, image_embeds, pooler_output } = model.forward(inputs as never) as Found;
    const found = text_embeds ?? image_embeds ?? pooler_output;
    if (!found) throw new UserError(`[embed] this ${model_type} has no pooler, so there is no embedding of a picture`);
    return found;
  };

  async function batch(inputs: readonly string[], attempt: Attempt): Promise<Batch | undefined> {
    if (idsOf) {
      const input_ids = idsOf(inputs);
      return { inputs: [...inputs], given: input_ids, features: features({ input_ids }) };
    }
    const read: [string, PixelValues][] = [];
    for (const input of inputs) {
      const pixels = await attempt(input, async () => prepare!(await load_image(input), input));
      if (pixels) read.push([input, pixels]);
    }
    if (read.length === 0) return undefined;
    const pixel_values = stack(read.map(([, pixels]) => pixels));
    return { inputs: read.map(([input]) => input), given: pixel_values, features: features({ pixel_values }) };
  }

  async function values(
    { inputs, given, features }: Batch,
    { normalize, signal }: EmbedOptions,
  ): Promise<Float32Array> {
    using _ = given;
    const found = features.to('f32');
    using result = normalize ? found.normalize() : found;
    await run([result], { signal });
    const rows = (await result.data()) as Float32Array;
    checkFiniteRows('embed', inputs, rows);
    return rows;
  }

  async function embed(inputs: readonly string[], options: EmbedOptions = {}): Promise<Embeddings> {
    const { batch_size = 8, on_error, on_progress, signal } = options;
    const attempt: Attempt = (input, work) =>
      work().catch((error: unknown) => {
        if (!on_error || !(error instanceof UserError)) throw error;
        on_error(input, error);
        return undefined;
      });
    const done: string[] = [];
    let [all, size] = [new Float32Array(), 0];
    for (let at = 0; at < inputs.length; at += batch_size) {
      signal?.throwIfAborted();
      const made = await batch(inputs.slice(at, at + batch_size), attempt);
      if (made) {
        const rows = await values(made, options);
        if (done.length === 0) {
          size = rows.length / made.inputs.length;
          all = new Float32Array(inputs.length * size);
        }
        all.set(rows, done.length * size);
        done.push(...made.inputs);
      }
      on_progress?.(Math.min(at + batch_size, inputs.length));
    }
    return { inputs: done, shape: [done.length, size], data: all.subarray(0, done.length * size) };
  }

  const dispose = () => model.dispose();
  const more = { model, model_type, lengthOf: idsOf?.lengthOf };
  return Object.assign(embed, { ...more, dispose, [Symbol.dispose]: dispose });
}
