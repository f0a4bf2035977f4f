// LLaVA in transformers.
import { cross_entropy, LlavaForConditionalGeneration, LlavaProcessor } from '../../src/index.ts';
import { type Family, family, isBoolean, method } from './family.ts';
import { type CaseFiles, readJson } from './files.ts';
import { integers } from './golden.ts';
import { isAdamW, train } from './train.ts';

type Llava = Awaited<ReturnType<typeof LlavaForConditionalGeneration.from_pretrained>>;
type Model = Llava & { files: CaseFiles };

const isNumber = (value: unknown) => typeof value === 'number';

/** Texts and pictures of a prompt, by its name in prompts.json. */
async function promptOf(files: CaseFiles, name: string) {
  const prompts = await readJson<Record<string, { text: string | string[]; images?: string[] }>>(files, 'prompts.json');
  const { text, images = [] } = prompts?.[name] ?? {};
  if (!text) throw new Error(`[${files.name}] no prompt ${name}`);
  const read = async (file: string) => {
    const bytes = await files.read(file);
    if (!bytes) throw new Error(`[${files.name}] no file ${file}`);
    return new File([bytes], file);
  };
  return { text, images: await Promise.all(images.map(read)) };
}

export const llava: Record<string, Family> = {
  LlavaForConditionalGeneration: family(
    async (files) =>
      Object.assign(await LlavaForConditionalGeneration.from_pretrained(await files.checkpoint()), { files }),
    {
      'LlavaProcessor.__call__': method({
        args: { prompt: (value) => typeof value === 'string', padding: isBoolean },
        async run({ files }: Model, __, { prompt, padding }) {
          const processor = await LlavaProcessor.from_pretrained(await files.checkpoint());
          const given = await promptOf(files, prompt as string);
          const { image_sizes: _, ...inputs } = await processor({ ...given, padding: padding as boolean });
          const [input_ids, attention_mask] = [integers(inputs.input_ids), integers(inputs.attention_mask)];
          return { ...inputs, input_ids, attention_mask };
        },
      }),
      generate: method({
        inputs: ['input_ids', 'attention_mask?', 'pixel_values?'],
        args: { max_new_tokens: isNumber, do_sample: (value) => value === false },
        run: (model: Model, inputs, args, wanted) =>
          model.generate({
            ...inputs,
            ...args,
            output_logits: wanted.includes('logits'),
            return_dict_in_generate: true,
          }),
      }),
      forward: method({
        inputs: ['input_ids', 'attention_mask?', 'pixel_values?'],
        args: { kept: (value) => value === 'all' || value === 'the last position' },
        run(model: Model, inputs, { kept }) {
          const { logits } = model.forward({ ...inputs, logits_to_keep: kept === 'all' ? 0 : 1 });
          return { logits };
        },
      }),
      get_image_features: method({
        inputs: ['pixel_values'],
        args: { about: (value) => typeof value === 'string' },
        run: (model: Model, inputs) => ({ image_features: model.get_image_features(inputs) }),
      }),
      'forward, backward, step': method({
        inputs: ['input_ids', 'labels', 'attention_mask?', 'pixel_values'],
        args: isAdamW,
        run(model: Model, { labels, ...inputs }, args, wanted) {
          const loss = () => {
            const { logits } = model.forward(inputs);
            return cross_entropy(logits.slice(1, 0, -1).flatten(0, 1), labels.slice(1, 1).flatten());
          };
          return train(model, loss, args, wanted);
        },
      }),
    },
  ),
};
