// Pictures or texts as points of one space: the embeddings of a CLIP or SigLIP. N = inputs, E = embedding.
import { run } from '../exec/run.ts';
import { UserError } from '../io/error.ts';
import { lookUp } from '../io/locate.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { AutoModel, identify, loadImageProcessor, type ModelSource, stack } from './auto.ts';
import { checkRows } from './finite.ts';
import type { PixelValues } from './image-processor.ts';
import { load_image } from './load-image.ts';
import { sentences } from './sentences.ts';

export type Kind = 'pictures' | 'texts';

export type EmbedOptions = {
  /** Each row is divided by its length. */
  normalize?: boolean | undefined;
  batch_size?: number | undefined;
  /** Told of an input that cannot be read, which is left out; without it that is an error. */
  on_error?: ((input: string, error: UserError) => void) | undefined;
  on_progress?: ((done: number) => void) | undefined;
};

/** `data` is [inputs, E], one row for each of `inputs`: those that could be read. */
export type Embeddings = { inputs: string[]; shape: [number, number]; data: Float32Array };

export type Embedder = {
  (inputs: readonly string[], options?: EmbedOptions): Promise<Embeddings>;
  model: Awaited<ReturnType<typeof AutoModel.from_pretrained>>;
  model_type: string;
  dispose(): void;
  [Symbol.dispose](): void;
};

/** The inputs of a batch that could be read, and what the model makes of them: [N, E], not computed yet. */
type Batch = { inputs: string[]; given: Tensor; features: Tensor };
type Attempt = <T>(input: string, work: () => Promise<T>) => Promise<T | undefined>;

/**
 * `get_image_features` of pictures (paths or addresses) or `get_text_features` of texts, batch by batch; no row depends on the
 * others. Reads the tokenizer for texts alone, the processor for pictures alone. Throws as zero-shot classification does.
 */
export async function embedder(source: ModelSource, kind: Kind, options: FromPretrained = {}): Promise<Embedder> {
  const from = await lookUp(source, options);
  const { model_type, config } = await identify(from, options);
  const idsOf = kind === 'texts' ? await sentences(from, model_type, config) : undefined;
  const prepare = kind === 'pictures' ? await loadImageProcessor(from) : undefined;
  const model = await AutoModel.from_pretrained(from, options);

  async function batch(inputs: readonly string[], attempt: Attempt): Promise<Batch | undefined> {
    if (idsOf) {
      const input_ids = idsOf(inputs);
      return { inputs: [...inputs], given: input_ids, features: model.get_text_features({ input_ids }) };
    }
    const read: [string, PixelValues][] = [];
    for (const input of inputs) {
      const pixels = await attempt(input, async () => prepare!(await load_image(input), input));
      if (pixels) read.push([input, pixels]);
    }
    if (read.length === 0) return undefined;
    const pixel_values = stack(read.map(([, pixels]) => pixels));
    return {
      inputs: read.map(([input]) => input),
      given: pixel_values,
      features: model.get_image_features({ pixel_values }),
    };
  }

  async function values({ inputs, given, features }: Batch, normalize = false): Promise<Float32Array> {
    using _ = given;
    const found = features.to('f32');
    using result = normalize ? found.normalize() : found;
    await run([result]);
    const rows = (await result.data()) as Float32Array;
    checkRows('embed', inputs, rows);
    return rows;
  }

  async function embed(
    inputs: readonly string[],
    { normalize, batch_size = 8, on_error, on_progress }: EmbedOptions = {},
  ): Promise<Embeddings> {
    const attempt: Attempt = (input, work) =>
      work().catch((error: unknown) => {
        if (!on_error || !(error instanceof UserError)) throw error;
        on_error(input, error);
        return undefined;
      });
    const done: string[] = [];
    let [all, size] = [new Float32Array(), 0];
    for (let at = 0; at < inputs.length; at += batch_size) {
      const made = await batch(inputs.slice(at, at + batch_size), attempt);
      if (made) {
        const rows = await values(made, normalize);
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
  return Object.assign(embed, { model, model_type, dispose, [Symbol.dispose]: dispose });
}
