// LLaVA in the repository of its authors.
import { LlavaMetaForCausalLM, preprocess, tokenizer_image_token } from '../../src/index.ts';
import { get_anyres_image_grid_shape, type Size, select_best_resolution, unpadded } from '../../src/io/anyres.ts';
import { conversation, promptOf, stopOf } from '../../src/io/conversation.ts';
import type { Tokenizer } from '../../src/io/tokenizer.ts';
import { AutoTokenizer, loadImageProcessor, stack } from '../../src/tasks/auto.ts';
import { process_image } from '../../src/tasks/llava-images.ts';
import { load_image } from '../../src/tasks/load-image.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { type Family, family, isBoolean, method, type Outputs } from './family.ts';
import type { CaseFiles } from './files.ts';
import { integers, type Value } from './golden.ts';

const isText = (value: unknown) => typeof value === 'string';
const isPair = (value: unknown) => Array.isArray(value) && value.length === 2 && value.every(Number.isInteger);
const isPairs = (value: unknown) => Array.isArray(value) && value.every(isPair);
const isTexts = (value: unknown) => Array.isArray(value) && value.every((text) => text === null || isText(text));

type Files = { files: CaseFiles };
const tokenizerOf = async ({ files }: Files): Promise<Tokenizer> =>
  AutoTokenizer.from_pretrained(await files.checkpoint());

type Meta = Awaited<ReturnType<typeof LlavaMetaForCausalLM.from_pretrained>>;

/** The model with some weights of the case. */
async function metaOf(files: CaseFiles, weights: unknown): Promise<Meta> {
  return LlavaMetaForCausalLM.from_pretrained(await files.checkpoint(), { file: `${weights}.safetensors` });
}

const rows = async (t: Tensor | undefined) => (await t?.tolist()) as number[][] | undefined;
const shaped = (shape: readonly number[], values: Iterable<number>): Value => ({
  shape,
  data: Float32Array.from(values),
});

export const llavaOriginal: Record<string, Family> = {
  llava: family(async (files) => ({ files }), {
    process_images: method({
      args: { file: isText, image_aspect_ratio: isText, image_grid_pinpoints: isPairs },
      async run({ files }: Files, _, { file, ...config }) {
        const bytes = await files.read(file as string);
        if (!bytes) throw new Error(`[${files.name}] no file ${file}`);
        const process = await loadImageProcessor(await files.checkpoint());
        const made = process_image(await load_image(bytes), process, config);
        const [first] = made;
        return { pixel_values: made.length > 1 ? stack(made) : shaped(first!.shape, first!.data) };
      },
    }),
    prompts: method({
      args: { template: isText, image: isBoolean, messages: isTexts },
      run(_: Files, __, { template, image, messages }) {
        const c = conversation(template as string);
        return { prompt: promptOf(c, messages as string[], image as boolean), stop: stopOf(c) };
      },
    }),
    tokens: method({
      args: { text: isText },
      run: async (model: Files, _, { text }) => ({
        ids: integers(tokenizer_image_token(text as string, await tokenizerOf(model))),
      }),
    }),
    labels: method({
      args: { template: isText, messages: isTexts },
      async run(model: Files, _, { template, messages }): Promise<Outputs> {
        const found = preprocess(template as string, messages as string[], await tokenizerOf(model));
        const { input_ids, labels, mismatch } = found;
        return { input_ids: integers(input_ids), labels: integers(labels), mismatch: JSON.stringify(mismatch) };
      },
    }),
    resolutions: method({
      args: { size: isPair, pinpoints: isPairs },
      run(_: Files, __, { size, pinpoints }) {
        const [own, possible] = [size as Size, pinpoints as Size[]];
        const grid = get_anyres_image_grid_shape(own, possible, possible[0]![0]);
        return { best: integers([...select_best_resolution(own, possible)]), grid: integers([...grid]) };
      },
    }),
    unpad: method({
      args: { size: isPair, grid: isPair },
      run(_: Files, __, { size, grid }) {
        const [height, width] = grid as [number, number];
        const { rows, columns } = unpadded(size as Size, [height, width]);
        const shape = [rows[1] - rows[0], columns[1] - columns[0]];
        const first = shape[0]! > 0 && shape[1]! > 0 ? [rows[0] * width + columns[0]] : [];
        return { shape: integers(shape), first: integers(first) };
      },
    }),
  }),

  LlavaMetaForCausalLM: family(async (files) => ({ files }), {
    encode_images: method({
      inputs: ['images'],
      args: { weights: isText },
      run: async ({ files }: Files, { images }, { weights }) => (await metaOf(files, weights)).encode_images(images),
    }),
    prepare_inputs_labels_for_multimodal: method({
      inputs: ['input_ids', 'labels?', 'attention_mask?', 'images?', 'images_*?'],
      args: {
        ...{ weights: isText, mm_patch_merge_type: isText, image_aspect_ratio: isText, image_grid_pinpoints: isPairs },
        ...{ tokenizer_padding_side: isText, image_sizes: isPairs, grids: isPairs },
        tokenizer_model_max_length: (value) => value === null || Number.isInteger(value),
      },
      async run({ files }: Files, inputs, { weights, grids: _, ...config }): Promise<Outputs> {
        const { input_ids, labels, attention_mask, images, ...tiles } = inputs;
        const model = await metaOf(files, weights);
        const made = model.prepare_inputs_labels_for_multimodal({
          ...(config as object),
          input_ids: (await rows(input_ids))!,
          labels: await rows(labels),
          attention_mask: await rows(attention_mask),
          images: images ?? (Object.values(tiles) as Tensor[]),
        });
        const { inputs_embeds, ...numbers } = made;
        return {
          inputs_embeds,
          labels: integers(numbers.labels),
          attention_mask: integers(numbers.attention_mask),
          position_ids: integers(numbers.position_ids),
        };
      },
    }),
  }),
};
