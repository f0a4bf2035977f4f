// LLaVA under other names than those that transformers saves: with the parts of its tower as before transformers 5, as its
// model has them in memory (`model.language_model`), and as the original repository saved it (`model.mm_projector`).
import { UserError } from '../error.ts';
import { isObject } from '../json.ts';
import { type Layout, type Rule, type Shapes, shapeOf } from './layout.ts';

const has = (shapes: Shapes, prefix: string) => [...shapes.keys()].some((name) => name.startsWith(prefix));

/** The tower was one module deeper. */
const tower = (from: string): Rule[] => [
  { from: `${from}.vision_model.**`, to: 'vision_tower.**' },
  { from: `${from}.**`, to: 'vision_tower.**' },
];

export const llavaHub: Layout = {
  name: 'llava-hub',
  detect: (shapes) => has(shapes, 'vision_tower.vision_model.') && has(shapes, 'multi_modal_projector.'),
  rules: tower('vision_tower'),
  rest: 'keep',
};

export const llavaInMemory: Layout = {
  name: 'llava-in-memory',
  detect: (shapes) => has(shapes, 'model.multi_modal_projector.'),
  rules: [
    ...tower('model.vision_tower'),
    { from: 'model.multi_modal_projector.**', to: 'multi_modal_projector.**' },
    { from: 'model.language_model.**', to: 'language_model.model.**' },
    { from: 'lm_head.*', to: 'language_model.lm_head.*' },
  ],
};

const PROJECTOR = 'model.mm_projector';
/** Layers of its projector are parts of a torch.nn.Sequential, with activations between them. */
const MOST_LAYERS = 8;

/** https://github.com/haotian-liu/LLaVA: the tower is a CLIP of its own, unless it was trained with the rest. */
export const llavaOriginal: Layout = {
  name: 'llava-original',
  detect: (shapes) => has(shapes, `${PROJECTOR}.`),
  beside: 'vision_tower',
  rules: [
    { from: `${PROJECTOR}.weight`, to: 'multi_modal_projector.linear_1.weight' },
    { from: `${PROJECTOR}.bias`, to: 'multi_modal_projector.linear_1.bias' },
    ...Array.from({ length: MOST_LAYERS }, (_, i) => ({
      from: `${PROJECTOR}.${2 * i}.*`,
      to: `multi_modal_projector.linear_${i + 1}.*`,
    })),
    ...tower('model.vision_tower.vision_tower'),
    ...tower('vision_tower'),
    { from: 'model.image_newline', to: 'image_newline' },
    { from: 'lm_head.*', to: 'language_model.lm_head.*' },
    { from: 'model.**', to: 'language_model.model.**' },
  ],
  // of a whole CLIP, which is what its configs name as the tower
  ignored: [
    'vision_tower.text_model.**',
    'vision_tower.text_projection.*',
    'vision_tower.visual_projection.*',
    'vision_tower.logit_scale',
  ],
  config(shapes, file, own = {}) {
    const vision = isObject(file?.vision_config) ? file.vision_config : file;
    if (!vision) {
      const name = own.mm_vision_tower ?? 'openai/clip-vit-large-patch14-336';
      throw new UserError(
        `[${this.name}] no vision tower: want it as a folder vision_tower beside the weights, or as the option { vision_tower: '${name}' }`,
      );
    }
    const [vocab_size, hidden_size] = shapeOf(shapes, 'model.embed_tokens.weight', this.name);
    const layers = [...shapes.keys()].filter((name) =>
      new RegExp(`^${PROJECTOR}\\.(?:\\d+\\.)?weight$`).test(name),
    ).length;
    return {
      ...own,
      model_type: 'llava',
      text_config: { ...own, model_type: 'llama', vocab_size, hidden_size },
      vision_config: { ...vision, model_type: vision.model_type ?? 'clip_vision_model' },
      image_token_index: own.image_token_index ?? -200,
      vision_feature_layer: own.mm_vision_select_layer ?? -2,
      vision_feature_select_strategy: own.mm_vision_select_feature === 'cls_patch' ? 'full' : 'default',
      mm_projector_type: layers === 1 ? 'linear' : `mlp${layers}x_gelu`,
    };
  },
};
