// torch.nn.Transformer with norms first, as its layers have them: an encoder, and a decoder that looks at what it gives.
import type { Weights } from '../io/weights.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { activation } from './activation.ts';
import { multiheadAttention } from './attention.ts';
import { layerNorm, linear } from './layers.ts';

export type TransformerConfig = {
  d_model: number;
  nhead: number;
  num_encoder_layers: number;
  num_decoder_layers: number;
  dim_feedforward: number;
  activation: string;
  layer_norm_eps: number;
};

function feedForward(w: Weights, c: TransformerConfig) {
  const linear1 = linear(w.at('linear1'), c.d_model, c.dim_feedforward);
  const linear2 = linear(w.at('linear2'), c.dim_feedforward, c.d_model);
  const act = activation(c.activation);
  return (x: Tensor) => linear2(act(linear1(x)));
}

const norms = (w: Weights, c: TransformerConfig, count: number) =>
  Array.from({ length: count }, (_, i) => layerNorm(w.at(`norm${i + 1}`), c.d_model, c.layer_norm_eps));

function encoderLayer(w: Weights, c: TransformerConfig) {
  const [norm1, norm2] = norms(w, c, 2);
  const self_attn = multiheadAttention(w.at('self_attn'), c.d_model, c.nhead);
  const ff = feedForward(w, c);
  return (x: Tensor) => {
    const n = norm1!(x);
    x = x.add(self_attn(n, n, n));
    return x.add(ff(norm2!(x)));
  };
}

function decoderLayer(w: Weights, c: TransformerConfig) {
  const [norm1, norm2, norm3] = norms(w, c, 3);
  const self_attn = multiheadAttention(w.at('self_attn'), c.d_model, c.nhead);
  const multihead_attn = multiheadAttention(w.at('multihead_attn'), c.d_model, c.nhead);
  const ff = feedForward(w, c);
  return (x: Tensor, memory: Tensor) => {
    const n = norm1!(x);
    x = x.add(self_attn(n, n, n));
    x = x.add(multihead_attn(norm2!(x), memory, memory));
    return x.add(ff(norm3!(x)));
  };
}

/** src [B, S, D] and tgt [B, T, D] to [B, T, D]; nothing is masked. */
export function transformer(w: Weights, c: TransformerConfig) {
  const layers = <T>(side: string, count: number, make: (w: Weights, c: TransformerConfig) => T) =>
    Array.from({ length: count }, (_, i) => make(w.at(side).at('layers').at(i), c));
  const encoder = layers('encoder', c.num_encoder_layers, encoderLayer);
  const memoryNorm = layerNorm(w.at('encoder.norm'), c.d_model, c.layer_norm_eps);
  const decoder = layers('decoder', c.num_decoder_layers, decoderLayer);
  const norm = layerNorm(w.at('decoder.norm'), c.d_model, c.layer_norm_eps);
  return (src: Tensor, tgt: Tensor): Tensor => {
    const memory = memoryNorm(encoder.reduce((x, layer) => layer(x), src));
    return norm(decoder.reduce((x, layer) => layer(x, memory), tgt));
  };
}
