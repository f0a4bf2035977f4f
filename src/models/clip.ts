// CLIP, Radford et al. 2021, arXiv:2103.00020. Reference: transformers CLIPModel; checkpoint keys are used unchanged.
// B = batch, L = tokens, D = hidden_size, E = projection_dim, S = image_size, P = patch_size.
import { pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { conv2d, type EncoderConfig, embedding, encoder, layerNorm, linear } from '../nn/index.ts';
import { arange, concat } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

type TextConfig = EncoderConfig & { vocab_size: number; max_position_embeddings: number; eos_token_id: number };
type VisionConfig = EncoderConfig & { image_size: number; patch_size: number; num_channels: number };
type Text = { input_ids: Tensor; attention_mask?: Tensor | undefined };
type Image = { pixel_values: Tensor };

/** What transformers takes where a config is silent: ViT-B/32. */
const SHARED = { num_hidden_layers: 12, hidden_act: 'quick_gelu', layer_norm_eps: 1e-5 };
const TEXT = { ...SHARED, hidden_size: 512, intermediate_size: 2048, num_attention_heads: 8 };
const TEXT_DEFAULTS: TextConfig = { ...TEXT, vocab_size: 49408, max_position_embeddings: 77, eos_token_id: 49407 };
const VISION = { ...SHARED, hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 };
const VISION_DEFAULTS: VisionConfig = { ...VISION, image_size: 224, patch_size: 32, num_channels: 3 };

/** Where each text ends: at its largest id where the config says 2 (all configs before transformers 4.31), else the first eos. */
function endOfText(ids: Tensor, eos: number): Tensor {
  return (eos === 2 ? ids : ids.eq(eos).to('f32')).argmax(-1);
}

function clipText(w: Weights, config: Partial<TextConfig>) {
  const c = { ...TEXT_DEFAULTS, ...config };
  const tokens = embedding(w.at('embeddings.token_embedding'), c.vocab_size, c.hidden_size);
  const positions = w.get('embeddings.position_embedding.weight', [c.max_position_embeddings, c.hidden_size]);
  const layers = encoder(w.at('encoder'), c);
  const final_layer_norm = layerNorm(w.at('final_layer_norm'), c.hidden_size, c.layer_norm_eps);

  const forward = ({ input_ids, attention_mask }: Text) => {
    const [B, L] = input_ids.shape as [number, number];
    if (L > c.max_position_embeddings) {
      throw new RangeError(`[clip] input_ids: got ${L} tokens, want at most ${c.max_position_embeddings}; truncate the text`);
    }
    const x = tokens(input_ids).add(positions.narrow(0, 0, L)); // [B, L, D]
    const attn_mask = attention_mask?.ne(0).reshape([B, 1, 1, L]);
    const hidden_states = layers(x, { attn_mask, is_causal: true });
    const last_hidden_state = final_layer_norm(hidden_states.at(-1)!);
    const end = endOfText(input_ids, c.eos_token_id).add(arange(B).mul(L)); // rows of [B * L, D]
    const pooler_output = last_hidden_state.flatten(0, 1).index_select(0, end); // [B, D]
    return { last_hidden_state, pooler_output, hidden_states };
  };
  return { forward, final_layer_norm, size: c.hidden_size };
}

function clipVision(w: Weights, config: Partial<VisionConfig>) {
  const c = { ...VISION_DEFAULTS, ...config };
  const { hidden_size: D, image_size: S, patch_size: P } = c;
  const patches = conv2d(w.at('embeddings.patch_embedding'), c.num_channels, D, { kernel_size: P, stride: P, bias: false });
  const classEmbedding = w.get('embeddings.class_embedding', [D]);
  const positions = w.get('embeddings.position_embedding.weight', [Math.floor(S / P) ** 2 + 1, D]);
  const preNorm = layerNorm(w.at('pre_layrnorm'), D, c.layer_norm_eps); // sic
  const layers = encoder(w.at('encoder'), c);
  const postNorm = layerNorm(w.at('post_layernorm'), D, c.layer_norm_eps);

  const forward = ({ pixel_values }: Image) => {
    const [B, C, H, W] = pixel_values.shape;
    if (pixel_values.rank !== 4 || C !== c.num_channels || H !== S || W !== S) {
      throw new RangeError(`[clip] pixel_values: got [${pixel_values.shape}], want [B, ${c.num_channels}, ${S}, ${S}]`);
    }
    const grid = patches(pixel_values).flatten(2).transpose(1, 2); // [B, L - 1, D]
    const x = concat([classEmbedding.expand([B!, 1, D]), grid], 1).add(positions);
    const hidden_states = layers(preNorm(x));
    const last_hidden_state = hidden_states.at(-1)!; // [B, L, D]
    return { last_hidden_state, pooler_output: postNorm(last_hidden_state.select(1, 0)), hidden_states };
  };
  return { forward, post_layernorm: postNorm, size: D };
}

type ClipConfig = {
  projection_dim?: number;
  text_config?: Partial<TextConfig>;
  text_config_dict?: Partial<TextConfig>;
  vision_config?: Partial<VisionConfig>;
  vision_config_dict?: Partial<VisionConfig>;
};

function clip(w: Weights, c: ClipConfig) {
  const text = clipText(w.at('text_model'), { ...c.text_config, ...c.text_config_dict });
  const vision = clipVision(w.at('vision_model'), { ...c.vision_config, ...c.vision_config_dict });
  const E = c.projection_dim ?? 512;
  const projectText = linear(w.at('text_projection'), text.size, E, { bias: false });
  const projectImage = linear(w.at('visual_projection'), vision.size, E, { bias: false });
  const logitScale = w.get('logit_scale', []);

  /** [B, E], not normalised. */
  const get_text_features = (inputs: Text) => projectText(text.forward(inputs).pooler_output);
  const get_image_features = (inputs: Image) => projectImage(vision.forward(inputs).pooler_output);
  /** Cosine similarities times exp(logit_scale), [images, texts], and the normalised embeddings. */
  const forward = (inputs: Text & Image) => {
    const text_embeds = get_text_features(inputs).normalize();
    const image_embeds = get_image_features(inputs).normalize();
    const logits_per_image = image_embeds.matmul(text_embeds.transpose(0, 1)).mul(logitScale.exp());
    return { logits_per_image, logits_per_text: logits_per_image.transpose(0, 1), text_embeds, image_embeds };
  };
  return { forward, get_text_features, get_image_features };
}

export const CLIPModel = pretrained('CLIPModel', clip);
export const CLIPTextModel = pretrained('CLIPTextModel', clipText);
export const CLIPVisionModel = pretrained('CLIPVisionModel', clipVision);
