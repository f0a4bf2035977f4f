// open_clip (https://github.com/mlfoundations/open_clip, src/open_clip/model.py): the names of openai/CLIP, sizes and
// activation from open_clip_config.json.
import { UserError } from '../error.ts';
import { isObject } from '../json.ts';
import type { Layout, Shapes } from './layout.ts';
import { clipBuffers, clipRules } from './openai-clip.ts';

const FILE = 'open_clip_config.json';

/** Settings that change nothing here: how the original is initialised, trained or tokenises. */
const HARMLESS = [
  'timm_model_pretrained',
  'patch_dropout',
  'output_tokens',
  'init_logit_scale',
  'hf_tokenizer_name',
  'tokenizer_kwargs',
];
/** Settings that may be written out with the value that they have anyway. */
const DEFAULTS = ['pool_type=tok', 'pool_type=argmax', 'pos_embed_type=learnable', 'proj_type=linear'];

type Settings = Record<string, unknown>;

export const openClip: Layout = {
  name: 'open-clip',
  detect: (shapes: Shapes) => shapes.has('visual.conv1.weight') && !shapes.has('input_resolution'),
  rules: clipRules,
  ignored: clipBuffers,
  config_file: FILE,
  config(_shapes, file) {
    if (!file) throw new UserError(`[${this.name}] no ${FILE} beside the weights: want it, it holds the sizes`);
    const model = section(file, 'model_cfg');
    const vision = section(model, 'vision_cfg');
    const text = section(model, 'text_cfg');
    refuseOthers(model, ['embed_dim', 'quick_gelu', 'vision_cfg', 'text_cfg']);
    refuseOthers(vision, ['image_size', 'layers', 'width', 'head_width', 'patch_size', 'mlp_ratio']);
    refuseOthers(text, ['context_length', 'vocab_size', 'width', 'heads', 'layers', 'mlp_ratio']);
    const embed = size(model, 'embed_dim');
    const width = size(vision, 'width', 768);
    const textWidth = size(text, 'width', 512);
    const shared = {
      hidden_act: model.quick_gelu === true ? 'quick_gelu' : 'gelu',
      layer_norm_eps: 1e-5,
      projection_dim: embed,
    };
    return {
      model_type: 'clip',
      projection_dim: embed,
      text_config: {
        model_type: 'clip_text_model',
        ...shared,
        hidden_size: textWidth,
        intermediate_size: Math.floor(textWidth * ratio(text)),
        num_attention_heads: size(text, 'heads', 8),
        num_hidden_layers: size(text, 'layers', 12),
        vocab_size: size(text, 'vocab_size', 49408),
        max_position_embeddings: size(text, 'context_length', 77),
        // 2: the text is pooled at its highest id, as the original does.
        eos_token_id: 2,
      },
      vision_config: {
        model_type: 'clip_vision_model',
        ...shared,
        hidden_size: width,
        intermediate_size: Math.floor(width * ratio(vision)),
        num_attention_heads: Math.floor(width / size(vision, 'head_width', 64)),
        num_hidden_layers: size(vision, 'layers', 12),
        patch_size: size(vision, 'patch_size', 16),
        image_size: size(vision, 'image_size', 224),
        num_channels: 3,
      },
    };
  },
};

function section(from: Settings, name: string): Settings {
  const value = from[name];
  if (!isObject(value)) throw new UserError(`[${FILE}] no section ${name}`);
  return value;
}

function size(from: Settings, name: string, otherwise?: number): number {
  const value = from[name] ?? otherwise;
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
  throw new UserError(`[${FILE}] ${name}: got ${JSON.stringify(value) ?? 'nothing'}, want an integer > 0`);
}

function ratio(from: Settings): number {
  const value = from.mlp_ratio ?? 4;
  if (typeof value === 'number' && value > 0) return value;
  throw new UserError(`[${FILE}] mlp_ratio: got ${JSON.stringify(value)}, want a number > 0`);
}

/** A setting that is on and not known here means another architecture. */
function refuseOthers(from: Settings, known: readonly string[]): void {
  for (const [name, value] of Object.entries(from)) {
    const off = !value || HARMLESS.includes(name) || DEFAULTS.includes(`${name}=${value}`);
    if (known.includes(name) || off) continue;
    throw new UserError(
      `[${FILE}] ${name}: ${JSON.stringify(value)} is not supported: want a plain ViT and text transformer`,
    );
  }
}
