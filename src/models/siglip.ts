// SigLIP, Zhai et al. 2023, arXiv:2303.15343. Reference: transformers SiglipModel; checkpoint keys are used unchanged.
// B = batch, L = tokens, D = hidden_size, S = image_size, P = patch_size.
import { pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { conv2d, type EncoderConfig, embedding, encoder, layerNorm, linear, mlp, multiHead } from '../nn/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

type TextConfig = EncoderConfig & { vocab_size: number; max_position_embeddings: number; projection_size?: number };
type VisionConfig = EncoderConfig & { image_size: number; patch_size: number; num_channels: number; vision_use_head?: boolean };
type Text = { input_ids: Tensor; attention_mask?: Tensor | undefined };
type Image = { pixel_values: Tensor };

/** What transformers takes where a config is silent: base-patch16-224. */
const SHARED = { hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12 };
const ACT = { hidden_act: 'gelu_pytorch_tanh', layer_norm_eps: 1e-6 };
const TEXT_DEFAULTS: TextConfig = { ...SHARED, ...ACT, vocab_size: 32000, max_position_embeddings: 64 };
const VISION_DEFAULTS: VisionConfig = { ...SHARED, ...ACT, image_size: 224, patch_size: 16, num_channels: 3 };

function siglipText(w: Weights, config: Partial<TextConfig>) {
  const c = { ...TEXT_DEFAULTS, ...config };
  const tokens = embedding(w.at('embeddings.token_embedding'), c.vocab_size, c.hidden_size);
  const positions = w.get('embeddings.position_embedding.weight', [c.max_position_embeddings, c.hidden_size]);
  const layers = encoder(w.at('encoder'), c);
  const norm = layerNorm(w.at('final_layer_norm'), c.hidden_size, c.layer_norm_eps);
  const head = linear(w.at('head'), c.hidden_size, c.projection_size ?? c.hidden_size);

  /** The text is padded to the full length and every position is seen; its last one is the summary. */
  const forward = ({ input_ids, attention_mask }: Text) => {
    const [B, L] = input_ids.shape as [number, number];
    const x = tokens(input_ids).add(positions.narrow(0, 0, L)); // [B, L, D]
    const hidden_states = layers(x, { attn_mask: attention_mask?.ne(0).reshape([B, 1, 1, L]) });
    const last_hidden_state = norm(hidden_states.at(-1)!);
    return { last_hidden_state, pooler_output: head(last_hidden_state.select(1, -1)), hidden_states };
  };
  return { forward };
}

/** Attention pooling: a learned query (the probe) over the patches, then an mlp. in_proj_weight holds q, k and v. */
function poolingHead(w: Weights, c: VisionConfig) {
  const D = c.hidden_size;
  const probe = w.get('probe', [1, 1, D]);
  const [wq, wk, wv] = w.get('attention.in_proj_weight', [3 * D, D]).split(D);
  const [bq, bk, bv] = w.get('attention.in_proj_bias', [3 * D]).split(D);
  const out = linear(w.at('attention.out_proj'), D, D);
  const norm = layerNorm(w.at('layernorm'), D, c.layer_norm_eps);
  const feedForward = mlp(w.at('mlp'), c);
  const project = (x: Tensor, weight: Tensor, bias: Tensor) => x.matmul(weight.transpose(0, 1)).add(bias);
  return (x: Tensor) => {
    const q = project(probe, wq!, bq!).expand([x.shape[0]!, 1, D]);
    const a = out(multiHead(q, project(x, wk!, bk!), project(x, wv!, bv!), c.num_attention_heads));
    return a.add(feedForward(norm(a))).select(1, 0); // [B, D]
  };
}

function siglipVision(w: Weights, config: Partial<VisionConfig>) {
  const c = { ...VISION_DEFAULTS, ...config };
  const { hidden_size: D, image_size: S, patch_size: P } = c;
  const patches = conv2d(w.at('embeddings.patch_embedding'), c.num_channels, D, { kernel_size: P, stride: P });
  const positions = w.get('embeddings.position_embedding.weight', [Math.floor(S / P) ** 2, D]);
  const layers = encoder(w.at('encoder'), c);
  const norm = layerNorm(w.at('post_layernorm'), D, c.layer_norm_eps);
  const head = c.vision_use_head === false ? undefined : poolingHead(w.at('head'), c);

  const forward = ({ pixel_values }: Image) => {
    if (pixel_values.rank !== 4 || pixel_values.shape[2] !== S || pixel_values.shape[3] !== S) {
      throw new RangeError(`[siglip] pixel_values: got [${pixel_values.shape}], want [B, ${c.num_channels}, ${S}, ${S}]`);
    }
    const hidden_states = layers(patches(pixel_values).flatten(2).transpose(1, 2).add(positions)); // [B, L, D]
    const last_hidden_state = norm(hidden_states.at(-1)!);
    return { last_hidden_state, pooler_output: head?.(last_hidden_state), hidden_states };
  };
  return { forward };
}

function siglip(w: Weights, c: { text_config?: Partial<TextConfig>; vision_config?: Partial<VisionConfig> }) {
  const text = siglipText(w.at('text_model'), c.text_config ?? {});
  const vision = siglipVision(w.at('vision_model'), c.vision_config ?? {});
  const logitScale = w.get('logit_scale', [1]);
  const logitBias = w.get('logit_bias', [1]);

  /** [B, D], not normalised. */
  const get_text_features = (inputs: Text) => text.forward(inputs).pooler_output;
  const get_image_features = (inputs: Image) => vision.forward(inputs).pooler_output!;
  /** Each pair is a question of its own: its probability is sigmoid(logit). */
  const forward = (inputs: Text & Image) => {
    const text_embeds = get_text_features(inputs).normalize();
    const image_embeds = get_image_features(inputs).normalize();
    const logits_per_text = text_embeds.matmul(image_embeds.transpose(0, 1)).mul(logitScale.exp()).add(logitBias);
    const logits_per_image = logits_per_text.transpose(0, 1);
    return { logits_per_image, logits_per_text, text_embeds, image_embeds, probs: logits_per_image.sigmoid() };
  };
  return { forward, get_text_features, get_image_features, vision_model: vision, text_model: text };
}

export const SiglipModel = pretrained('SiglipModel', siglip);
export const SiglipTextModel = pretrained('SiglipTextModel', siglipText);
export const SiglipVisionModel = pretrained('SiglipVisionModel', siglipVision);
