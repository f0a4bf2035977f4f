// Stable Diffusion 1.5 as its configs have it, with random weights in f16: the same bytes at every run.
import { mkdir, writeFile } from 'node:fs/promises';
import { AutoencoderKL, CLIPTextModel, saveSafetensors, UNet2DConditionModel } from '../../src/index.ts';
import { toHalf } from '../../src/io/save-model.ts';
import { numel } from '../../src/tensor/shape.ts';

const CONFIGS = {
  unet: {
    ...{ _class_name: 'UNet2DConditionModel', act_fn: 'silu', attention_head_dim: 8, cross_attention_dim: 768 },
    ...{ block_out_channels: [320, 640, 1280, 1280], layers_per_block: 2, norm_num_groups: 32, sample_size: 64 },
    down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
  },
  vae: {
    ...{ _class_name: 'AutoencoderKL', act_fn: 'silu', block_out_channels: [128, 256, 512, 512], layers_per_block: 2 },
    ...{ latent_channels: 4, norm_num_groups: 32, sample_size: 512, scaling_factor: 0.18215 },
  },
  text_encoder: {
    ...{ model_type: 'clip_text_model', architectures: ['CLIPTextModel'], hidden_act: 'quick_gelu', hidden_size: 768 },
    ...{ intermediate_size: 3072, max_position_embeddings: 77, num_attention_heads: 12, num_hidden_layers: 12 },
    ...{ projection_dim: 768, vocab_size: 49408 },
  },
};
const CLASSES = { unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel };
const FILES = {
  unet: 'diffusion_pytorch_model.fp16.safetensors',
  vae: 'diffusion_pytorch_model.fp16.safetensors',
  text_encoder: 'model.fp16.safetensors',
};
type Name = keyof typeof CONFIGS;

const INDEX = {
  ...{ _class_name: 'StableDiffusionPipeline', text_encoder: ['transformers', 'CLIPTextModel'] },
  ...{ unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'] },
};

const VALUES = 2 ** 12; // that a weight may have

/** Evenly spread about `mean`, of a standard deviation, by xorshift (Marsaglia 2003). */
function random(size: number, mean: number, deviation: number, seed: number): Uint16Array {
  const values = Uint16Array.from({ length: VALUES }, (_, i) =>
    toHalf(mean + deviation * Math.sqrt(12) * ((i + 0.5) / VALUES - 0.5)),
  );
  const out = new Uint16Array(size);
  let state = seed | 1;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out[i] = values[state & (VALUES - 1)]!;
  }
  return out;
}

/** Writes the folder, about 2.1 GB, a tensor at a time; what such a model computes stays within f16. */
export async function writeModel(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/model_index.json`, JSON.stringify(INDEX));
  for (const part of Object.keys(CONFIGS) as Name[]) {
    const config = CONFIGS[part];
    await mkdir(`${folder}/${part}`, { recursive: true });
    await writeFile(`${folder}/${part}/config.json`, JSON.stringify(config));
    const shapes = new Map(
      [...CLASSES[part].from_config(config).named_parameters()].map(([name, t]) => [name, t.shape]),
    );
    const plans = [...shapes].map(([name, shape]) => [name, { dtype: 'F16', shape }] as const);
    let seed = 1;
    await saveSafetensors(`${folder}/${part}/${FILES[part]}`, plans, (name) => {
      const shape = shapes.get(name)!;
      const isNorm = shape.length === 1 && name.endsWith('weight');
      const deviation = shape.length === 1 ? 0.1 : Math.sqrt(shape[0]! / numel(shape));
      return random(numel(shape), isNorm ? 1 : 0, deviation, seed++ * 2654435761);
    });
  }
}
