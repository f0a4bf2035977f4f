// LLaVA under other names than those that transformers saves: with the parts of its tower as before transformers 5, as its
// model has them in memory (`model.language_model`), and as the original repository saved it (`model.mm_projector`).
import type { Size } from '../anyres.ts';
import { IMAGE_TOKEN_INDEX } from '../conversation.ts';
import { UserError } from '../error.ts';
import { isObject } from '../json.ts';
import { countLayers, type Layout, type Rule, type Shapes, shapeOf } from './layout.ts';

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
const TOWER = 'model.vision_tower.vision_tower';
/** The language model of each kind. */
const TEXTS: Record<string, string> = { llava: 'llama', llava_llama: 'llama', llava_mistral: 'mistral' };
const RATIOS = ['square', 'pad', 'anyres'];

/** https://github.com/haotian-liu/LLaVA: the tower is a CLIP of its own, unless it was trained with the rest. */
export const llavaOriginal: Layout = {
  name: 'llava-original',
  detect: (shapes, own) => has(shapes, `${PROJECTOR}.`) || isOriginalLlava(own),
  beside: { folder: 'vision_tower', own: `${TOWER}.` },
  rules: [
    { from: `${PROJECTOR}.weight`, to: 'multi_modal_projector.linear_1.weight' },
    { from: `${PROJECTOR}.bias`, to: 'multi_modal_projector.linear_1.bias' },
    ...Array.from({ length: MOST_LAYERS }, (_, i) => ({
      from: `${PROJECTOR}.${2 * i}.*`,
      to: `multi_modal_projector.linear_${i + 1}.*`,
    })),
    ...tower(TOWER),
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
    const oneOf = (field: string, known: readonly string[]) => {
      const value = own[field] ?? known[0]!;
      if (known.includes(value as string)) return value as string;
      throw new UserError(`[${this.name}] ${field}: got ${JSON.stringify(value)}, want one of ${known.join(', ')}`);
    };
    const kind = oneOf('model_type', Object.keys(TEXTS));
    const vision = (isObject(file?.vision_config) ? file.vision_config : file) ?? ownTower(shapes, own);
    if (!vision) {
      const name = own.mm_vision_tower ?? 'openai/clip-vit-large-patch14-336';
      throw new UserError(
        `[${this.name}] no vision tower: want it as a folder vision_tower beside the weights, or as the option { vision_tower: '${name}' }`,
      );
    }
    const [vocab_size, hidden_size] = shapeOf(shapes, 'model.embed_tokens.weight', this.name);
    const layers = countLayers(shapes, `${PROJECTOR}.weight`) + countLayers(shapes, `${PROJECTOR}.*.weight`);
    return {
      ...own,
      model_type: 'llava',
      text_config: { ...own, model_type: TEXTS[kind], vocab_size, hidden_size },
      vision_config: { ...vision, model_type: vision.model_type ?? 'clip_vision_model' },
      image_token_index: own.image_token_index ?? IMAGE_TOKEN_INDEX,
      vision_feature_layer: own.mm_vision_select_layer ?? -2,
      vision_feature_select_strategy: own.mm_vision_select_feature === 'cls_patch' ? 'full' : 'default',
      mm_projector_type: own.mm_projector_type ?? (['identity', 'linear'][layers] || `mlp${layers}x_gelu`),
      image_aspect_ratio: oneOf('image_aspect_ratio', RATIOS),
      image_grid_pinpoints: pinpoints(own.image_grid_pinpoints),
    };
  },
};

/** Whether a config.json is that of a whole model of the original repository. */
export const isOriginalLlava = (config: Record<string, unknown> | undefined): boolean =>
  config?.mm_vision_tower !== undefined && config.text_config === undefined;

/** Sizes of a tower among the weights, which is one of OpenAI's: heads of 64. */
function ownTower(shapes: Shapes, { mm_vision_tower: name = 'openai/' }: Record<string, unknown>) {
  const at = (part: string) => shapes.get(`${TOWER}.vision_model.${part}`) ?? [];
  const [hidden_size, , patch_size] = at('embeddings.patch_embedding.weight');
  const [positions] = at('embeddings.position_embedding.weight');
  const [intermediate_size] = at('encoder.layers.0.mlp.fc1.weight');
  if (!hidden_size || !patch_size || !positions || !intermediate_size || !String(name).startsWith('openai/')) return;
  return {
    ...{ hidden_size, patch_size, intermediate_size, num_attention_heads: hidden_size / 64 },
    num_hidden_layers: countLayers(shapes, `${TOWER}.vision_model.encoder.layers.*.layer_norm1.weight`),
    image_size: patch_size * Math.sqrt(positions - 1),
    model_type: 'clip_vision_model',
  };
}

/** [[672, 336], ...]; in some configs it is a text. */
function pinpoints(value: unknown): Size[] | undefined {
  if (value === undefined || value === null) return undefined;
  const list = typeof value === 'string' ? parsed(value.replaceAll('(', '[').replaceAll(')', ']')) : value;
  const isSize = (v: unknown) => Array.isArray(v) && v.length === 2 && v.every((n) => Number.isInteger(n) && n > 0);
  if (Array.isArray(list) && list.length > 0 && list.every(isSize)) return list;
  throw new UserError(`[llava-original] image_grid_pinpoints: got ${JSON.stringify(value)}, want [[672, 336], ...]`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // refused as it is
  }
}
