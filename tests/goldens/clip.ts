// CLIP in transformers, openai/CLIP and open_clip.
import { CLIPModel, CLIPTextModel, CLIPVisionModel, contrastive_loss, type Tensor } from '../../src/index.ts';
import { type Family, family, isBoolean, method, type Outputs } from './family.ts';
import { isAdamW, train } from './train.ts';

type Model = Awaited<ReturnType<typeof CLIPModel.from_pretrained>>;

const hiddenStates = (states: readonly Tensor[]): Outputs =>
  Object.fromEntries(states.map((state, i) => [`hidden_states.${i}`, state]));

/** openai/CLIP and open_clip name their methods and inputs alike; `*_normalized` is open_clip's `normalize=True`. */
const original = family(async ({ checkpoint }) => CLIPModel.from_pretrained(await checkpoint()), {
  encode_image: method({
    inputs: ['image'],
    run(model: Model, { image }) {
      const image_features = model.get_image_features({ pixel_values: image });
      return { image_features, image_normalized: image_features.normalize() };
    },
  }),
  encode_text: method({
    inputs: ['text'],
    run(model: Model, { text }) {
      const text_features = model.get_text_features({ input_ids: text });
      return { text_features, text_normalized: text_features.normalize() };
    },
  }),
  forward: method({
    inputs: ['image', 'text'],
    run(model: Model, { image, text }) {
      const { logits_per_image, logits_per_text } = model.forward({ input_ids: text, pixel_values: image });
      return { logits_per_image, logits_per_text };
    },
  }),
});

export const clip: Record<string, Family> = {
  CLIPModel: family(async ({ checkpoint }) => CLIPModel.from_pretrained(await checkpoint()), {
    get_image_features: method({
      inputs: ['pixel_values'],
      run(model: Model, inputs) {
        const { last_hidden_state, pooler_output } = model.vision_model.forward(inputs);
        return { image_embeds: model.get_image_features(inputs), last_hidden_state, pooler_output };
      },
    }),
    get_text_features: method({
      inputs: ['input_ids', 'attention_mask?'],
      run(model: Model, inputs) {
        const { last_hidden_state, pooler_output } = model.text_model.forward(inputs);
        return { text_embeds: model.get_text_features(inputs), last_hidden_state, pooler_output };
      },
    }),
    forward: method({
      inputs: ['input_ids', 'pixel_values', 'attention_mask?'],
      run: (model: Model, inputs) => model.forward(inputs),
    }),
    'forward, backward, step': method({
      inputs: ['input_ids', 'pixel_values', 'attention_mask?'],
      args: { ...isAdamW, return_loss: (value) => value === true },
      run: (model: Model, inputs, args, wanted) =>
        train(model, () => contrastive_loss(model.forward(inputs).logits_per_text), args, wanted),
    }),
  }),

  CLIPTextModel: family(async ({ checkpoint }) => CLIPTextModel.from_pretrained(await checkpoint()), {
    forward: method({
      inputs: ['input_ids', 'attention_mask?'],
      args: { output_hidden_states: isBoolean },
      run(model: Awaited<ReturnType<typeof CLIPTextModel.from_pretrained>>, inputs) {
        const { last_hidden_state, pooler_output, hidden_states } = model.forward(inputs);
        // clip_skip_1: the last layer but one, through the final norm, as diffusers' clip_skip=1
        const skipped = hidden_states
          .slice(0, -1)
          .reverse()
          .map((x, i) => [`clip_skip_${i + 1}`, model.final_layer_norm(x)]);
        return { last_hidden_state, pooler_output, ...hiddenStates(hidden_states), ...Object.fromEntries(skipped) };
      },
    }),
  }),

  CLIPVisionModel: family(async ({ checkpoint }) => CLIPVisionModel.from_pretrained(await checkpoint()), {
    forward: method({
      inputs: ['pixel_values'],
      args: { output_hidden_states: isBoolean },
      run(model: Awaited<ReturnType<typeof CLIPVisionModel.from_pretrained>>, inputs) {
        const { last_hidden_state, pooler_output, hidden_states } = model.forward(inputs);
        const llava_features = hidden_states.at(-2)?.slice(1, 1);
        return { last_hidden_state, pooler_output, llava_features, ...hiddenStates(hidden_states) };
      },
    }),
  }),

  CLIP: original,
  'open_clip.CLIP': original,
};
