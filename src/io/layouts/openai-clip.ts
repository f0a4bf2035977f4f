// openai/CLIP (https://github.com/openai/CLIP, clip/model.py): fused in_proj, projections stored [width, embed], no config.
import { UserError } from '../error.ts';
import { countLayers, type Layout, type Rule, type Shapes, shapeOf } from './layout.ts';

/** The tensors of one transformer block. `from`: resblocks, `to`: encoder layers. */
export const resblocks = (from: string, to: string): Rule[] => [
  { from: `${from}.*.ln_1.*`, to: `${to}.*.layer_norm1.*` },
  { from: `${from}.*.ln_2.*`, to: `${to}.*.layer_norm2.*` },
  ...['weight', 'bias'].map((part) => ({
    from: `${from}.*.attn.in_proj_${part}`,
    to: ['q_proj', 'k_proj', 'v_proj'].map((name) => `${to}.*.self_attn.${name}.${part}`),
  })),
  { from: `${from}.*.attn.out_proj.*`, to: `${to}.*.self_attn.out_proj.*` },
  { from: `${from}.*.mlp.c_fc.*`, to: `${to}.*.mlp.fc1.*` },
  { from: `${from}.*.mlp.c_proj.*`, to: `${to}.*.mlp.fc2.*` },
];

/** The names that openai/CLIP and open_clip share, with a ViT for pictures. */
export const clipRules: readonly Rule[] = [
  { from: 'visual.class_embedding', to: 'vision_model.embeddings.class_embedding' },
  { from: 'visual.positional_embedding', to: 'vision_model.embeddings.position_embedding.weight' },
  { from: 'visual.conv1.weight', to: 'vision_model.embeddings.patch_embedding.weight' },
  { from: 'visual.ln_pre.*', to: 'vision_model.pre_layrnorm.*' },
  { from: 'visual.ln_post.*', to: 'vision_model.post_layernorm.*' },
  { from: 'visual.proj', to: 'visual_projection.weight', transpose: true },
  ...resblocks('visual.transformer.resblocks', 'vision_model.encoder.layers'),
  { from: 'token_embedding.weight', to: 'text_model.embeddings.token_embedding.weight' },
  { from: 'positional_embedding', to: 'text_model.embeddings.position_embedding.weight' },
  { from: 'ln_final.*', to: 'text_model.final_layer_norm.*' },
  { from: 'text_projection', to: 'text_projection.weight', transpose: true },
  ...resblocks('transformer.resblocks', 'text_model.encoder.layers'),
  { from: 'logit_scale', to: 'logit_scale' },
];

/** Saved beside the weights by both: sizes as integers, and the causal mask. */
export const clipBuffers = ['input_resolution', 'context_length', 'vocab_size', 'attn_mask'];

/** Width of one attention head in every released openai/CLIP model. */
const HEAD = 64;

export const openaiClip: Layout = {
  name: 'openai-clip',
  detect: (shapes: Shapes) => shapes.has('visual.conv1.weight') && shapes.has('input_resolution'),
  rules: clipRules,
  ignored: clipBuffers,
  config(shapes) {
    const at = (name: string) => shapeOf(shapes, name, this.name);
    if (shapes.has('visual.layer1.0.conv1.weight')) {
      throw new UserError(`[${this.name}] a CLIP with a ResNet for pictures: want one with a ViT (ViT-B-32, ViT-L-14)`);
    }
    const [width = 0, , patch = 0] = at('visual.conv1.weight');
    const [positions = 0] = at('visual.positional_embedding');
    const [tokens = 0, textWidth = 0] = at('token_embedding.weight');
    const [, embed = 0] = at('text_projection');
    const tower = (hidden: number, layers: string) => ({
      hidden_size: hidden,
      intermediate_size: 4 * hidden,
      num_attention_heads: hidden / HEAD,
      num_hidden_layers: countLayers(shapes, `${layers}.*.ln_1.weight`),
      hidden_act: 'quick_gelu',
      layer_norm_eps: 1e-5,
      projection_dim: embed,
    });
    return {
      model_type: 'clip',
      projection_dim: embed,
      text_config: {
        model_type: 'clip_text_model',
        ...tower(textWidth, 'transformer.resblocks'),
        vocab_size: tokens,
        max_position_embeddings: at('positional_embedding')[0],
        // 2: the text is pooled at its highest id, as the original does.
        eos_token_id: 2,
      },
      vision_config: {
        model_type: 'clip_vision_model',
        ...tower(width, 'visual.transformer.resblocks'),
        patch_size: patch,
        image_size: Math.round(Math.sqrt(positions - 1)) * patch,
        num_channels: 3,
      },
    };
  },
};
