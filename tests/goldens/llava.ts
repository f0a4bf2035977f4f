// LLaVA in transformers.
import { cross_entropy, LlavaForConditionalGeneration } from '../../src/index.ts';
import { type Family, family, method } from './family.ts';
import { isAdamW, train } from './train.ts';

type Model = Awaited<ReturnType<typeof LlavaForConditionalGeneration.from_pretrained>>;

export const llava: Record<string, Family> = {
  LlavaForConditionalGeneration: family(
    async ({ checkpoint }) => LlavaForConditionalGeneration.from_pretrained(await checkpoint()),
    {
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
