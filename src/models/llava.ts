// LLaVA, Liu et al. 2023, arXiv:2304.08485 and 2310.03744. Names and fields are those that transformers'
// LlavaForConditionalGeneration saves; `mm_...` are the original repository's.
// B = batch, L = tokens, N = pictures, n = tokens of a picture, D = hidden_size of the language model.
import { settings } from '../io/config.ts';
import { UserError } from '../io/error.ts';
import { type Config, pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { activation } from '../nn/activation.ts';
import { checkInputs, type ImageInputs, insert } from '../nn/embeddings.ts';
import { linear } from '../nn/layers.ts';
import { arange, concat } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { clipVision } from './clip.ts';
import { type LlamaInputs, llama } from './llama.ts';
import { siglipVision } from './siglip.ts';

export type LlavaInputs = LlamaInputs & {
  /** Pictures [N, 3, S, S] for the placeholders in `input_ids`, in their order. */
  pixel_values?: Tensor | undefined;
};

/** What transformers takes where a config is silent: 1.5, with the tower of CLIP-L/14-336. */
const FLAGS = { multimodal_projector_bias: true, tie_word_embeddings: false };
const DEFAULTS = { ...FLAGS, projector_hidden_act: 'gelu', vision_feature_select_strategy: 'default' };
const LARGE = { hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24, num_attention_heads: 16 };
const VISION = { ...LARGE, image_size: 336, patch_size: 14 };
const TOWERS = { clip_vision_model: clipVision, siglip_vision_model: siglipVision };

/** Fields that `settings` does not know: a token that may be negative, one layer or several, the kinds of the parts. */
function kinds({ image_token_index, image_token_id, vision_feature_layer, vision_config, ...config }: Config) {
  const want = (what: string, got: unknown, wanted: string, holds: boolean) => {
    if (!holds) throw new UserError(`[config] ${what}: got ${JSON.stringify(got)}, want ${wanted}`);
  };
  const image_token = image_token_index ?? image_token_id ?? 32000;
  want('image_token_index', image_token, 'a token', Number.isInteger(image_token));
  const layers = [vision_feature_layer ?? -2].flat() as number[];
  want('vision_feature_layer', vision_feature_layer, 'layers', layers.length > 0 && layers.every(Number.isInteger));
  const tower = vision_config?.model_type ?? 'clip_vision_model';
  want('model_type of vision_config', tower, Object.keys(TOWERS).join(', '), Object.hasOwn(TOWERS, tower));
  const text = config.text_config?.model_type ?? 'llama';
  want('model_type of text_config', text, 'llama', text === 'llama');
  const strategy = config.vision_feature_select_strategy ?? 'default';
  want('vision_feature_select_strategy', strategy, 'default or full', strategy === 'default' || strategy === 'full');
  const projector = config.mm_projector_type ?? 'mlp2x_gelu';
  const depth = projector === 'linear' ? 1 : Number(/^mlp(\d)x_gelu$/.exec(projector)?.[1] ?? 0);
  want('mm_projector_type', projector, 'linear or mlp2x_gelu', depth > 0);
  return { image_token, layers, tower: tower as keyof typeof TOWERS, depth };
}

/** From what the tower sees to the width of the language model: `depth` layers, an activation between them. */
function projector(w: Weights, from: number, to: number, depth: number, { act, bias }: { act: string; bias: boolean }) {
  const layers = Array.from({ length: depth }, (_, i) =>
    linear(w.at(`linear_${i + 1}`), i === 0 ? from : to, to, { bias }),
  );
  const between = activation(act);
  return (x: Tensor) => layers.reduce((y, layer, i) => layer(i === 0 ? y : between(y)), x);
}

/** Pictures as embeddings of a language model `D` wide. */
export function imageFeatures(w: Weights, config: Config, D: number) {
  const c = settings('config', DEFAULTS, config);
  const { layers, tower, depth } = kinds(config);
  const given = config.vision_config ?? {};
  const vision = tower === 'clip_vision_model' ? { ...VISION, ...given } : given;
  const vision_tower = TOWERS[tower](w.at('vision_tower'), vision);
  const bias = c.multimodal_projector_bias;
  const width = layers.length * vision_tower.size;
  const multi_modal_projector = projector(w.at('multi_modal_projector'), width, D, depth, {
    act: c.projector_hidden_act,
    bias,
  });
  const first = c.vision_feature_select_strategy === 'default' ? 1 : 0; // without the class token
  /** What the tower sees: [N, n, its width]. */
  const image_tower = (inputs: ImageInputs) => {
    const { hidden_states } = vision_tower.forward(inputs);
    const chosen = layers.map((layer) => {
      const state = hidden_states.at(layer);
      if (state) return state.slice(1, first);
      const most = hidden_states.length - 1;
      throw new RangeError(`[config] vision_feature_layer: got ${layer}, want ${-most - 1}..${most}`);
    });
    return chosen.length > 1 ? concat(chosen, -1) : chosen[0]!;
  };
  /** [N, n, D]. */
  const get_image_features = (inputs: ImageInputs) => multi_modal_projector(image_tower(inputs));
  return { image_tower, get_image_features, dummy_inputs: vision_tower.dummy_inputs };
}

/** Throws where pictures and placeholders do not match, if the tokens are still on the host. */
function checkCount(input_ids: Tensor, image_token: number, { shape }: Tensor): void {
  const { host } = input_ids.base;
  const places = host && [...host].filter((id) => id === image_token).length;
  const [pictures, each] = shape as [number, number];
  if (places !== null && places !== pictures * each) throw new UserError(mismatch(places, pictures, each));
}

/** In words: placeholders that are not as many as the tokens of the pictures. */
export const mismatch = (places: number, pictures: number, each: number): string =>
  `[llava] got ${places} image placeholders for ${pictures} ${pictures === 1 ? 'picture' : 'pictures'} of ${each} tokens, ` +
  `want ${pictures * each}: one <image> for each picture in the prompt`;

function llava(w: Weights, config: Config) {
  const { image_token } = kinds(config);
  const { tie_word_embeddings } = settings('config', DEFAULTS, config, config.text_config);
  const language_model = llama(w.at('language_model'), { ...config.text_config, tie_word_embeddings });
  const { embed_tokens, lm_head, inv_freq, sizes } = language_model;
  const { get_image_features, dummy_inputs: pictures } = imageFeatures(w, config, sizes.hidden_size);

  const forward = ({ pixel_values, ...inputs }: LlavaInputs) => {
    if (!pixel_values) return language_model.forward(inputs);
    const { input_ids, ...rest } = checkInputs('llava', inputs, 'input_ids');
    const features = get_image_features({ pixel_values });
    checkCount(input_ids!, image_token, features);
    const isImage = input_ids!.eq(image_token);
    const at = isImage.where(ranks(isImage), -1);
    return language_model.forward({
      ...rest,
      inputs_embeds: insert(embed_tokens(input_ids!), at, features.flatten(0, 1)),
    });
  };
  const dummy_inputs = { ...language_model.dummy_inputs, ...pictures };
  const image_token_id = image_token;
  return { forward, get_image_features, embed_tokens, lm_head, inv_freq, sizes, image_token_id, dummy_inputs };
}

/** How many true ones lie before each place of a mask [B, L], rows one after the other. */
function ranks(mask: Tensor): Tensor {
  const all = mask.flatten().to('f32');
  const places = arange(all.size);
  return places.lt(places.unsqueeze(-1)).to('f32').mul(all).sum(-1).to('i32').reshape(mask.shape);
}

export const LlavaForConditionalGeneration = pretrained('LlavaForConditionalGeneration', llava);
