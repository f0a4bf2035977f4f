// CLIP, Radford et al. 2021, arXiv:2103.00020. Reference: transformers CLIPModel; checkpoint keys are used unchanged.
// B = batch, L = tokens, D = hidden_size, E = projection_dim.
import { settings } from '../io/config.ts';
import { type Config, pretrained, tower } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import {
  checkInputs,
  type ImageInputs,
  keyMask,
  patchEmbedding,
  type TextInputs,
  textEmbeddings,
} from '../nn/embeddings.ts';
import { encoder } from '../nn/encoder.ts';
import { layerNorm, linear } from '../nn/layers.ts';
import { arange, concat } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** What transformers takes where a config is silent: ViT-B/32. */
const SHARED = { num_hidden_layers: 12, hidden_act: 'quick_gelu', layer_norm_eps: 1e-5 };
const TEXT_SIZES = { hidden_size: 512, intermediate_size: 2048, num_attention_heads: 8 };
const TEXT = { ...SHARED, ...TEXT_SIZES, vocab_size: 49408, max_position_embeddings: 77, eos_token_id: 49407 };
const VISION_SIZES = { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 };
const VISION = { ...SHARED, ...VISION_SIZES, image_size: 224, patch_size: 32, num_channels: 3 };

/** Where each text ends: at its largest id where the config says 2 (all configs before transformers 4.31), else the first eos. */
function endOfText(ids: Tensor, eos: number): Tensor {
  return (eos === 2 ? ids : ids.eq(eos).to('f32')).argmax(-1);
}

function clipText(w: Weights, ...configs: unknown[]) {
  const c = settings('text_config', TEXT, ...configs);
  const embed = textEmbeddings(w.at('embeddings'), c);
  const layers = encoder(w.at('encoder'), c);
  const final_layer_norm = layerNorm(w.at('final_layer_norm'), c.hidden_size, c.layer_norm_eps);
  const forward = (inputs: TextInputs) => {
    const { input_ids, attention_mask } = checkInputs('text', inputs, 'input_ids');
    const [B, L] = input_ids.shape as [number, number];
    const hidden_states = layers(embed(input_ids), { attn_mask: keyMask(attention_mask), is_causal: true });
    const last_hidden_state = final_layer_norm(hidden_states.at(-1)!); // [B, L, D]
    const end = endOfText(input_ids, c.eos_token_id).add(arange(B).mul(L)); // rows of [B * L, D]
    const pooler_output = last_hidden_state.flatten(0, 1).index_select(0, end); // [B, D]
    return { last_hidden_state, pooler_output, hidden_states };
  };
  const dummy_inputs = { input_ids: [1, c.max_position_embeddings] };
  return { forward, final_layer_norm, size: c.hidden_size, dummy_inputs };
}

export function clipVision(w: Weights, ...configs: unknown[]) {
  const c = settings('vision_config', VISION, ...configs);
  const D = c.hidden_size;
  const patches = patchEmbedding(w.at('embeddings.patch_embedding'), c, { bias: false });
  const classEmbedding = w.get('embeddings.class_embedding', [D]);
  const count = Math.floor(c.image_size / c.patch_size) ** 2 + 1;
  const positions = w.get('embeddings.position_embedding.weight', [count, D]);
  const pre_layrnorm = layerNorm(w.at('pre_layrnorm'), D, c.layer_norm_eps); // sic
  const layers = encoder(w.at('encoder'), c);
  const post_layernorm = layerNorm(w.at('post_layernorm'), D, c.layer_norm_eps);
  const forward = (inputs: ImageInputs) => {
    const { pixel_values } = checkInputs('vision', inputs, 'pixel_values');
    const grid = patches(pixel_values); // [B, L - 1, D]
    const x = concat([classEmbedding.expand([grid.shape[0]!, 1, D]), grid], 1).add(positions);
    const hidden_states = layers(pre_layrnorm(x));
    const last_hidden_state = hidden_states.at(-1)!; // [B, L, D]
    return { last_hidden_state, pooler_output: post_layernorm(last_hidden_state.select(1, 0)), hidden_states };
  };
  const dummy_inputs = { pixel_values: [1, c.num_channels, c.image_size, c.image_size] };
  return { forward, size: D, dummy_inputs };
}

const projectionOf = (config: Config) => settings('config', { projection_dim: 512 }, config).projection_dim;

/** A tower and its projection to [B, E], not normalised: of both towers' config, or of the tower's own. */
function textWithProjection(w: Weights, config: Config) {
  const text_model = clipText(w.at('text_model'), config.text_config ?? config, config.text_config_dict);
  const project = linear(w.at('text_projection'), text_model.size, projectionOf(config), { bias: false });
  const forward = (inputs: TextInputs) => {
    const found = text_model.forward(inputs);
    return { text_embeds: project(found.pooler_output), ...found };
  };
  return { forward, text_model, dummy_inputs: text_model.dummy_inputs };
}

function visionWithProjection(w: Weights, config: Config) {
  const vision_model = clipVision(w.at('vision_model'), config.vision_config ?? config, config.vision_config_dict);
  const project = linear(w.at('visual_projection'), vision_model.size, projectionOf(config), { bias: false });
  const forward = (inputs: ImageInputs) => {
    const found = vision_model.forward(inputs);
    return { image_embeds: project(found.pooler_output), ...found };
  };
  return { forward, vision_model, dummy_inputs: vision_model.dummy_inputs };
}

function clip(w: Weights, config: Config) {
  const both = { ...config, text_config: config.text_config ?? {}, vision_config: config.vision_config ?? {} };
  const { forward: text, text_model } = textWithProjection(w, both);
  const { forward: vision, vision_model } = visionWithProjection(w, both);
  const logitScale = w.get('logit_scale', []);

  /** [B, E], not normalised. */
  const get_text_features = (inputs: TextInputs) => text(inputs).text_embeds;
  const get_image_features = (inputs: ImageInputs) => vision(inputs).image_embeds;
  /** Cosine similarities times exp(logit_scale), [images, texts], and the normalised embeddings. */
  const forward = (inputs: TextInputs & ImageInputs) => {
    const text_embeds = get_text_features(inputs).normalize();
    const image_embeds = get_image_features(inputs).normalize();
    const logits_per_image = image_embeds.matmul(text_embeds.transpose(0, 1)).mul(logitScale.exp());
    return { logits_per_image, logits_per_text: logits_per_image.transpose(0, 1), text_embeds, image_embeds };
  };
  const dummy_inputs = { ...text_model.dummy_inputs, ...vision_model.dummy_inputs };
  return { forward, get_text_features, get_image_features, text_model, vision_model, dummy_inputs };
}

export const CLIPModel = pretrained('CLIPModel', clip);
export const CLIPTextModelWithProjection = pretrained('CLIPTextModelWithProjection', textWithProjection);
export const CLIPVisionModelWithProjection = pretrained('CLIPVisionModelWithProjection', visionWithProjection);
export const CLIPTextModel = pretrained('CLIPTextModel', tower('text', clipText));
export const CLIPVisionModel = pretrained('CLIPVisionModel', tower('vision', clipVision));
