// SigLIP in transformers.
import { SiglipModel } from '../../src/index.ts';
import { type Family, family, method } from './family.ts';

type Model = Awaited<ReturnType<typeof SiglipModel.from_pretrained>>;

export const siglip: Record<string, Family> = {
  SiglipModel: family(async ({ checkpoint }) => SiglipModel.from_pretrained(await checkpoint()), {
    get_image_features: method({
      inputs: ['pixel_values'],
      run(model: Model, inputs) {
        const { last_hidden_state } = model.vision_model.forward(inputs);
        return { image_embeds: model.get_image_features(inputs), last_hidden_state };
      },
    }),
    get_text_features: method({
      inputs: ['input_ids', 'attention_mask?'],
      run(model: Model, inputs) {
        const { last_hidden_state } = model.text_model.forward(inputs);
        return { text_embeds: model.get_text_features(inputs), last_hidden_state };
      },
    }),
    forward: method({
      inputs: ['input_ids', 'pixel_values', 'attention_mask?'],
      run: (model: Model, inputs) => model.forward(inputs),
    }),
  }),
};
