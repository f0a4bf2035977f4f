// SigLIP, Zhai et al. 2023, arXiv:2303.15343; keys of transformers' SiglipModel. B = batch, L = tokens, D = hidden_size.
import { settings } from '../io/config.ts';
import { type Config, pretrained, tower } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { multiheadAttention } from '../nn/attention.ts';
import {
  checkInputs,
  type ImageInputs,
  keyMask,
  patchEmbedding,
  type TextInputs,
  textEmbeddings,
} from '../nn/embeddings.ts';
import { encoder, mlp } from '../nn/encoder.ts';
import { layerNorm, linear } from '../nn/layers.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** What transformers takes where a config is silent: base-patch16-224. */
const SIZES = { hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12 };
const SHARED = { ...SIZES, hidden_act: 'gelu_pytorch_tanh', layer_norm_eps: 1e-6 };
const TEXT = { ...SHARED, vocab_size: 32000, max_position_embeddings: 64, projection_size: 0 };
const VISION = { ...SHARED, image_size: 224, patch_size: 16, num_channels: 3, vision_use_head: true };

function siglipText(w: Weights, config: unknown) {
  const c = settings('text_config', TEXT, config);
  const embed = textEmbeddings(w.at('embeddings'), c);
  const layers = encoder(w.at('encoder'), c);
  const norm = layerNorm(w.at('final_layer_norm'), c.hidden_size, c.layer_norm_eps);
  const head = linear(w.at('head'), c.hidden_size, c.projection_size || c.hidden_size);
  /** Texts are padded to the full length and every position is seen; the last one is the summary. */
  const forward = (inputs: TextInputs) => {
    const { input_ids, attention_mask } = checkInputs('text', inputs, 'input_ids');
    const hidden_states = layers(embed(input_ids), { attn_mask: keyMask(attention_mask) });
    const last_hidden_state = norm(hidden_states.at(-1)!); // [B, L, D]
    return { last_hidden_state, pooler_output: head(last_hidden_state.select(1, -1)), hidden_states };
  };
  return { forward, dummy_inputs: { input_ids: [1, c.max_position_embeddings] } };
}

/** Attention pooling: a learned query looks at all patches, then an mlp. */
function poolingHead(w: Weights, c: typeof VISION) {
  const probe = w.get('probe', [1, 1, c.hidden_size]);
  const attention = multiheadAttention(w.at('attention'), c.hidden_size, c.num_attention_heads);
  const norm = layerNorm(w.at('layernorm'), c.hidden_size, c.layer_norm_eps);
  const feedForward = mlp(w.at('mlp'), c);
  return (x: Tensor) => {
    const a = attention(probe.expand([x.shape[0]!, 1, c.hidden_size]), x, x);
    return a.add(feedForward(norm(a))).select(1, 0); // [B, D]
  };
}

export function siglipVision(w: Weights, config: unknown) {
  const c = settings('vision_config', VISION, config);
  const patches = patchEmbedding(w.at('embeddings.patch_embedding'), c, { bias: true });
  const count = Math.floor(c.image_size / c.patch_size) ** 2;
  const positions = w.get('embeddings.position_embedding.weight', [count, c.hidden_size]);
  const layers = encoder(w.at('encoder'), c);
  const norm = layerNorm(w.at('post_layernorm'), c.hidden_size, c.layer_norm_eps);
  const head = c.vision_use_head ? poolingHead(w.at('head'), c) : undefined;
  const forward = (inputs: ImageInputs) => {
    const { pixel_values } = checkInputs('vision', inputs, 'pixel_values');
    const hidden_states = layers(patches(pixel_values).add(positions));
    const last_hidden_state = norm(hidden_states.at(-1)!); // [B, L, D]
    return { last_hidden_state, pooler_output: head?.(last_hidden_state), hidden_states };
  };
  const dummy_inputs = { pixel_values: [1, c.num_channels, c.image_size, c.image_size] };
  return { forward, size: c.hidden_size, dummy_inputs };
}

function siglip(w: Weights, config: Config) {
  const text_model = siglipText(w.at('text_model'), config.text_config);
  const vision_model = siglipVision(w.at('vision_model'), config.vision_config);
  const [scale, bias] = [w.get('logit_scale', [1]), w.get('logit_bias', [1])];
  const get_text_features = (inputs: TextInputs) => text_model.forward(inputs).pooler_output; // [B, D], not normalised
  const get_image_features = (inputs: ImageInputs) => vision_model.forward(inputs).pooler_output!;
  /** Each pair is a question of its own, with the probability sigmoid(logit). */
  const forward = (inputs: TextInputs & ImageInputs) => {
    const text_embeds = get_text_features(inputs).normalize();
    const image_embeds = get_image_features(inputs).normalize();
    const logits_per_text = text_embeds.matmul(image_embeds.transpose(0, 1)).mul(scale.exp()).add(bias);
    const logits_per_image = logits_per_text.transpose(0, 1);
    return { logits_per_image, logits_per_text, text_embeds, image_embeds, probs: logits_per_image.sigmoid() };
  };
  const dummy_inputs = { ...text_model.dummy_inputs, ...vision_model.dummy_inputs };
  return { forward, get_text_features, get_image_features, text_model, vision_model, dummy_inputs };
}

export const SiglipModel = pretrained('SiglipModel', siglip);
export const SiglipTextModel = pretrained('SiglipTextModel', tower('text', siglipText));
export const SiglipVisionModel = pretrained('SiglipVisionModel', tower('vision', siglipVision));
