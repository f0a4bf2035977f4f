// Single files of Stable Diffusion with the names of latent-diffusion (https://github.com/CompVis/latent-diffusion,
// ldm/modules/diffusionmodules): all of a pipeline in one, as diffusers' parts unet.*, vae.* and text_encoder.*.
import type { Layout, Rule, Shapes } from './layout.ts';
import { resblocks } from './openai-clip.ts';

const UNET = 'model.diffusion_model';

/** Other names for what comes behind a prefix. */
const renamed = (from: string, to: string, names: Record<string, string>): Rule[] =>
  Object.entries(names).map(([old, today]) => ({ from: `${from}.${old}`, to: `${to}.${today}` }));

const RESNET = {
  ...{ 'in_layers.0.*': 'norm1.*', 'in_layers.2.*': 'conv1.*', 'emb_layers.1.*': 'time_emb_proj.*' },
  ...{ 'out_layers.0.*': 'norm2.*', 'out_layers.3.*': 'conv2.*', 'skip_connection.*': 'conv_shortcut.*' },
};

/** Numbers of the blocks of a list, and what each has: `input_blocks.3.0.op.weight` gives 3 an `0.op`. */
function blocks(shapes: Shapes, list: string): { number: number; has(part: string): boolean }[] {
  const prefix = `${UNET}.${list}.`;
  const inside = [...shapes.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const numbers = [...new Set(inside.map((name) => Number.parseInt(name, 10)))].sort((a, b) => a - b);
  return numbers.map((number) => ({
    number,
    has: (part) => inside.some((name) => name.startsWith(`${number}.${part}.`)),
  }));
}

/** Blocks are numbered through there, and by resolution here: which is which follows from what they hold. */
function unetRules(shapes: Shapes): Rule[] {
  const rules = renamed(UNET, 'unet', {
    ...{ 'time_embed.0.*': 'time_embedding.linear_1.*', 'time_embed.2.*': 'time_embedding.linear_2.*' },
    ...{ 'time_embed.cond_proj.*': 'time_embedding.cond_proj.*', 'input_blocks.0.0.*': 'conv_in.*' },
    ...{ 'label_emb.0.0.*': 'class_embedding.linear_1.*', 'label_emb.0.2.*': 'class_embedding.linear_2.*' },
    ...{ 'middle_block.1.**': 'mid_block.attentions.0.**', 'out.0.*': 'conv_norm_out.*', 'out.2.*': 'conv_out.*' },
  });
  const resnet = (from: string, to: string) => renamed(`${UNET}.${from}`, `unet.${to}`, RESNET);
  const move = (from: string, to: string) => renamed(UNET, 'unet', { [`${from}.**`]: `${to}.**` });
  rules.push(...resnet('middle_block.0', 'mid_block.resnets.0'), ...resnet('middle_block.2', 'mid_block.resnets.1'));
  let [level, layer] = [0, 0];
  for (const { number, has } of blocks(shapes, 'input_blocks').slice(1)) {
    const [from, to] = [`input_blocks.${number}`, `down_blocks.${level}`];
    if (has('0.op')) {
      rules.push(...move(`${from}.0.op`, `${to}.downsamplers.0.conv`));
      [level, layer] = [level + 1, 0];
    } else {
      rules.push(...resnet(`${from}.0`, `${to}.resnets.${layer}`), ...move(`${from}.1`, `${to}.attentions.${layer}`));
      layer++;
    }
  }
  [level, layer] = [0, 0];
  for (const { number, has } of blocks(shapes, 'output_blocks')) {
    const [from, to] = [`output_blocks.${number}`, `up_blocks.${level}`];
    const up = ['1.conv', '2.conv'].find(has);
    if (up) rules.push(...move(`${from}.${up}`, `${to}.upsamplers.0.conv`));
    rules.push(...resnet(`${from}.0`, `${to}.resnets.${layer}`), ...move(`${from}.1`, `${to}.attentions.${layer}`));
    [level, layer] = up ? [level + 1, 0] : [level, layer + 1];
  }
  return rules;
}

/** The attention of an autoencoder, whose matrices may be 1 x 1 convolutions. */
const attention = (from: string, to: string): Rule[] => [
  { from: `${from}.norm.*`, to: `${to}.group_norm.*` },
  ...Object.entries({ q: 'to_q', k: 'to_k', v: 'to_v', proj_out: 'to_out.0' }).flatMap(([old, today]): Rule[] => [
    { from: `${from}.${old}.weight`, to: `${to}.${today}.weight`, reshape: (shape) => shape.slice(0, 2) },
    { from: `${from}.${old}.bias`, to: `${to}.${today}.bias` },
  ]),
];

/** An autoencoder of latent-diffusion or taming-transformers below `from`, as AutoencoderKL below `to`; both end with a dot or are empty. */
export function autoencoderRules(shapes: Shapes, from: string, to: string): Rule[] {
  const sides = ['encoder', 'decoder'].flatMap((side): Rule[] => {
    const [old, today] = [`${from}${side}`, `${to}${side}`];
    return [
      ...renamed(old, today, {
        ...{ 'conv_in.*': 'conv_in.*', 'conv_out.*': 'conv_out.*', 'norm_out.*': 'conv_norm_out.*' },
        ...{ 'mid.block_1.*.*': 'mid_block.resnets.0.*.*', 'mid.block_2.*.*': 'mid_block.resnets.1.*.*' },
        ...{ 'down.*.downsample.conv.*': 'down_blocks.*.downsamplers.0.conv.*' },
        ...{ 'down.*.block.*.nin_shortcut.*': 'down_blocks.*.resnets.*.conv_shortcut.*' },
        'down.*.block.*.*.*': 'down_blocks.*.resnets.*.*.*',
      }),
      ...attention(`${old}.mid.attn_1`, `${today}.mid_block.attentions.0`),
    ];
  });
  const up = `${from}decoder.up.`;
  const levels = new Set(
    [...shapes.keys()].filter((name) => name.startsWith(up)).map((name) => name.slice(up.length).split('.')[0]!),
  );
  const ups = [...levels].flatMap((level) =>
    renamed(`${up}${level}`, `${to}decoder.up_blocks.${levels.size - 1 - Number(level)}`, {
      ...{ 'upsample.conv.*': 'upsamplers.0.conv.*', 'block.*.nin_shortcut.*': 'resnets.*.conv_shortcut.*' },
      'block.*.*.*': 'resnets.*.*.*',
    }),
  );
  const quant = ['quant_conv', 'post_quant_conv'].map((name) => ({ from: `${from}${name}.*`, to: `${to}${name}.*` }));
  return [...sides, ...ups, ...quant];
}

const TEXT = 'cond_stage_model';
const textRules: readonly Rule[] = [
  { from: `${TEXT}.transformer.text_model.**`, to: 'text_encoder.**' },
  { from: `${TEXT}.model.token_embedding.weight`, to: 'text_encoder.embeddings.token_embedding.weight' },
  { from: `${TEXT}.model.positional_embedding`, to: 'text_encoder.embeddings.position_embedding.weight' },
  { from: `${TEXT}.model.ln_final.*`, to: 'text_encoder.final_layer_norm.*' },
  ...resblocks(`${TEXT}.model.transformer.resblocks`, 'text_encoder.encoder.layers'),
];

/** What such a file holds beside weights: the schedule, running averages, what CLIP has and a prompt does not need. */
const IGNORED = [
  ...['betas', 'alphas_cumprod', 'alphas_cumprod_prev', 'sqrt_alphas_cumprod', 'sqrt_one_minus_alphas_cumprod'],
  ...['log_one_minus_alphas_cumprod', 'sqrt_recip_alphas_cumprod', 'sqrt_recipm1_alphas_cumprod'],
  ...['posterior_variance', 'posterior_log_variance_clipped', 'posterior_mean_coef1', 'posterior_mean_coef2'],
  ...['model_ema.**', 'first_stage_model.loss.**', 'logvar', 'lvlb_weights'],
  ...['logit_scale', 'text_projection', 'attn_mask'].map((name) => `${TEXT}.model.${name}`),
];

export const ldm: Layout = {
  name: 'ldm',
  detect: (shapes: Shapes) => shapes.has(`${UNET}.input_blocks.0.0.weight`),
  rules: (shapes) => [...unetRules(shapes), ...autoencoderRules(shapes, 'first_stage_model.', 'vae.'), ...textRules],
  ignored: IGNORED,
};

/** The file of an autoencoder alone, with the same names. */
export const ldmAutoencoder: Layout = {
  name: 'ldm-autoencoder',
  detect: (shapes: Shapes) => shapes.has('encoder.down.0.block.0.norm1.weight'),
  rules: (shapes) => autoencoderRules(shapes, '', ''),
  ignored: ['loss.**', 'model_ema.**'],
};
