// LLaVA, Liu et al. 2023, arXiv:2304.08485 and 2310.03744. Names and fields are those that transformers'
// LlavaForConditionalGeneration saves; `mm_...` are the original repository's.
// B = batch, L = tokens, N = pictures, n = tokens of a picture, D = hidden_size of the language model.
import { type Size, type Tiling, tileCounts, tileGrid } from '../io/anyres.ts';
import { settings } from '../io/config.ts';
import { UserError } from '../io/error.ts';
import { type Config, pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { activation } from '../nn/activation.ts';
import { checkInputs, type ImageInputs, insert } from '../nn/embeddings.ts';
import { linear } from '../nn/layers.ts';
import { arange, concat, pad } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { clipVision } from './clip.ts';
import { type LlamaInputs, llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { siglipVision } from './siglip.ts';

/** Pictures [N, 3, S, S]; with `image_sizes`, [width, height] of each, they are tiles of these: the whole picture, then its parts. */
export type Pictures = ImageInputs & { image_sizes?: readonly Size[] | undefined };
/** Pictures are for the placeholders in `input_ids`, in their order. */
export type LlavaInputs = LlamaInputs & Partial<Pictures>;

/** What transformers takes where a config is silent: 1.5, with the tower of CLIP-L/14-336. */
const FLAGS = { multimodal_projector_bias: true, tie_word_embeddings: false };
const DEFAULTS = { ...FLAGS, projector_hidden_act: 'gelu', vision_feature_select_strategy: 'default' };
const LARGE = { hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24, num_attention_heads: 16 };
const VISION = { ...LARGE, image_size: 336, patch_size: 14 };
const TEXTS = { llama, mistral };
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
  want('model_type of text_config', text, Object.keys(TEXTS).join(', '), Object.hasOwn(TEXTS, text));
  const strategy = config.vision_feature_select_strategy ?? 'default';
  want('vision_feature_select_strategy', strategy, 'default or full', strategy === 'default' || strategy === 'full');
  const projector = config.mm_projector_type ?? 'mlp2x_gelu';
  const [, several] = /^mlp([1-9]\d?)x_gelu$/.exec(projector) ?? [];
  const depth = several ? Number(several) : ['identity', 'linear'].indexOf(projector);
  want('mm_projector_type', projector, 'identity, linear, or mlp2x_gelu with any number', depth >= 0);
  return { image_token, layers, tower: tower as keyof typeof TOWERS, text: text as keyof typeof TEXTS, depth };
}

/** From what the tower sees to the width of the language model: `depth` layers, an activation between them. None: the same width. */
function projector(w: Weights, from: number, to: number, depth: number, { act, bias }: { act: string; bias: boolean }) {
  if (depth === 0 && from !== to) throw new RangeError(`[config] mm_projector_type identity: got ${from}, want ${to}`);
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
  const { dummy_inputs } = vision_tower;
  const image_size = dummy_inputs.pixel_values[3]!;
  const join = tileJoiner(w.maybe('image_newline', [D]), image_size, D);
  return { image_tower, get_image_features, join, image_size, dummy_inputs };
}

/** The tokens of a picture [tokens, D] from those of its tiles [tiles, n, D]: all of it, then its parts in rows of the picture. */
function tileJoiner(image_newline: Tensor | undefined, image_size: number, D: number) {
  return (tiles: Tensor, size: Size | undefined, tiling: Tiling): Tensor => {
    const { mm_patch_merge_type: merge = 'flat', image_aspect_ratio } = tiling;
    const [count, n] = tiles.shape as [number, number];
    if (merge === 'flat') return tiles.flatten(0, 1);
    const isUnpadded = merge.includes('unpad');
    if (!merge.startsWith('spatial'))
      throw new UserError(`[llava] mm_patch_merge_type: got ${merge}, want flat, spatial or spatial_unpad`);
    if (isUnpadded && !image_newline)
      throw new UserError('[llava] the checkpoint has no image_newline, which unpad wants');
    const whole = tiles.select(0, 0);
    if (count === 1) return isUnpadded ? concat([whole, image_newline!.unsqueeze(0)], 0) : whole;
    if (image_aspect_ratio !== 'anyres' || !size) throw new UserError('[llava] tiles want anyres, and image_sizes');
    const { across, down, side, rows, columns } = tileGrid(size, n, tiling, image_size);
    if (count !== 1 + across * down || n !== side * side) {
      const want = `${1 + across * down} of ${side * side}`;
      throw new UserError(`[llava] got ${count} tiles of ${n} tokens for a picture of ${size}, want ${want}`);
    }
    const grid = tiles.slice(0, 1).reshape([down, across, side, side, D]).permute([0, 2, 1, 3, 4]);
    if (!isUnpadded) return concat([whole, grid.reshape([-1, D])], 0);
    const all = grid.reshape([down * side, across * side, D]);
    const kept = all.narrow(0, rows[0], rows[1] - rows[0]).narrow(1, columns[0], columns[1] - columns[0]);
    const ends = image_newline!.expand([kept.shape[0]!, 1, D]);
    return concat([whole, concat([kept, ends], 1).reshape([-1, D])], 0);
  };
}

/** Throws where pictures and placeholders do not match, if the tokens are still on the host. */
function checkCount(input_ids: Tensor, image_token: number, pictures: readonly Tensor[]): void {
  const { host } = input_ids.base;
  const places = host && [...host].filter((id) => id === image_token).length;
  const each = pictures.map(({ shape }) => shape[0]!);
  const wanted = each.reduce((a, b) => a + b, 0);
  if (places === null || places === wanted) return;
  const of = `${each.length} ${each.length === 1 ? 'picture' : 'pictures'} of ${[...new Set(each)].join(' and ')} tokens`;
  throw new UserError(
    `[llava] got ${places} image placeholders for ${of}, want ${wanted}: one <image> for each picture in the prompt`,
  );
}

function llava(w: Weights, config: Config) {
  const { image_token, text: kind } = kinds(config);
  const { tie_word_embeddings } = settings('config', DEFAULTS, config, config.text_config);
  const language_model = TEXTS[kind](w.at('language_model'), { ...config.text_config, tie_word_embeddings });
  const { lm_head, inv_freq, sizes } = language_model;
  const { get_image_features, join, image_size, dummy_inputs: pictures } = imageFeatures(w, config, sizes.hidden_size);

  /** Of tokens; a placeholder that is in no vocabulary (-200) has any. */
  const embed_tokens = (ids: Tensor) => language_model.embed_tokens(image_token < 0 ? ids.maximum(0) : ids);
  /** Of each picture what stands for it, [tokens, D]. */
  const get_picture_tokens = ({ pixel_values, image_sizes }: Pictures): Tensor[] => {
    const features = get_image_features({ pixel_values }); // [N, n, D]
    const [N, n] = features.shape as [number, number];
    if (config.image_aspect_ratio !== 'anyres') return Array.from({ length: N }, (_, i) => features.select(0, i));
    if (!image_sizes) throw new UserError('[llava] image_sizes: got nothing, want [width, height] of each picture');
    const counts = image_sizes.map((size) => tileCounts(size, n, config, image_size).tiles);
    const all = counts.reduce((a, b) => a + b, 0);
    if (all !== N) throw new UserError(`[llava] pixel_values: got ${N} tiles, want ${all} for pictures of these sizes`);
    const starts = counts.map((_, i) => counts.slice(0, i).reduce((a, b) => a + b, 0));
    return counts.map((count, i) => join(features.narrow(0, starts[i]!, count), image_sizes[i], config));
  };
  const forward = ({ pixel_values, image_sizes, ...inputs }: LlavaInputs) => {
    if (!pixel_values) return language_model.forward(inputs);
    const { input_ids, ...rest } = checkInputs('llava', inputs, 'input_ids');
    const found = get_picture_tokens({ pixel_values, image_sizes });
    checkCount(input_ids!, image_token, found);
    const isImage = input_ids!.eq(image_token);
    const at = isImage.where(ranks(isImage), -1);
    return language_model.forward({ ...rest, inputs_embeds: insert(embed_tokens(input_ids!), at, concat(found, 0)) });
  };
  const dummy_inputs = { ...language_model.dummy_inputs, ...pictures };
  const image_token_id = image_token;
  const text = { embed_tokens, lm_head, inv_freq, sizes };
  return { forward, get_image_features, get_picture_tokens, ...text, image_token_id, dummy_inputs };
}

/** How many true ones lie before each place of a mask [B, L], rows one after the other. */
const ranks = (mask: Tensor): Tensor => before(mask.flatten().to('f32')).to('i32').reshape(mask.shape);

const BLOCK = 64;
/** Sums of what lies before each of [n] numbers: within blocks, and of the blocks before. */
function before(x: Tensor): Tensor {
  const blocks = Math.ceil(x.size / BLOCK);
  const places = arange(BLOCK);
  const earlier = places.unsqueeze(-1).lt(places).to('f32'); // [j, i]: j < i
  const rows = pad(x, [0, blocks * BLOCK - x.size]).reshape([blocks, BLOCK]);
  const inside = rows.matmul(earlier);
  const all = blocks > 1 ? inside.add(before(rows.sum(-1)).unsqueeze(-1)) : inside;
  return all.flatten().narrow(0, 0, x.size);
}

export const LlavaForConditionalGeneration = pretrained('LlavaForConditionalGeneration', llava);
