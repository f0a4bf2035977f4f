// From a language model's signal tokens to what conditions a decoder: GILL's mapper (Koh et al. 2023, arXiv:2305.17216) and
// NExT-GPT's output projectors (arXiv:2309.05519), or one linear layer. B = batch, S = signal tokens, N = vectors that come out.
import { settings } from '../io/config.ts';
import { UserError } from '../io/error.ts';
import { type Config, pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { linear } from '../nn/layers.ts';
import { transformer } from '../nn/transformer.ts';
import { checkTensors } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** GILL's for Stable Diffusion 1: 77 vectors of 768. */
const DEFAULTS = {
  ...{ projector_type: 'transformer', in_features: 4096, out_features: 768, num_queries: 77 },
  ...{ d_model: 512, nhead: 4, num_encoder_layers: 4, num_decoder_layers: 4, dim_feedforward: 2048 },
  ...{ activation: 'relu', layer_norm_eps: 1e-5 },
};

export type ProjectorInputs = {
  /** The language model's last hidden states at the signal tokens, [B, S, in_features]. */
  states: Tensor;
  /** Its input embeddings of the same tokens, which are added to them. */
  embeddings?: Tensor | undefined;
};

function outputProjector(w: Weights, config: Config) {
  const c = settings('config', DEFAULTS, config);
  if (c.projector_type === 'linear') {
    const proj = linear(w.at('proj'), c.in_features, c.out_features);
    return { forward: ({ states }: ProjectorInputs) => ({ H: proj(states) }) };
  }
  if (c.projector_type !== 'transformer') {
    throw new UserError(`[config] projector_type: got ${c.projector_type}, want linear or transformer`);
  }
  const fc = linear(w.at('fc'), c.in_features, c.d_model);
  const query_embs = w.get('query_embs', [1, c.num_queries, c.d_model]);
  const tfm = transformer(w.at('tfm'), c);
  const model = linear(w.at('model'), c.d_model, c.out_features);
  /** [B, N, out_features]. */
  const forward = ({ states, embeddings }: ProjectorInputs) => {
    checkTensors('projector', { states }, { embeddings });
    const x = fc(embeddings ? states.add(embeddings) : states);
    const queries = query_embs.expand([states.shape[0]!, c.num_queries, c.d_model]);
    return { H: model(tfm(x, queries)) };
  };
  return { forward };
}

/** `OutputProjector.from_pretrained(file, { config: { in_features, ... } })`: the files have no config of their own. */
export const OutputProjector = pretrained('OutputProjector', outputProjector);
