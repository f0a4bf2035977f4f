// The pre-norm transformer encoder that CLIP, SigLIP and their kin share.
import type { Weights } from '../io/weights.ts';
import type { AttentionOptions } from '../ops/attention.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { activation } from './activation.ts';
import { selfAttention } from './attention.ts';
import { layerNorm, linear } from './layers.ts';

export type EncoderConfig = {
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  hidden_act: string;
  layer_norm_eps: number;
};

/** fc2(act(fc1(x))). */
export function mlp(w: Weights, c: EncoderConfig) {
  const fc1 = linear(w.at('fc1'), c.hidden_size, c.intermediate_size);
  const fc2 = linear(w.at('fc2'), c.intermediate_size, c.hidden_size);
  const act = activation(c.hidden_act);
  return (x: Tensor) => fc2(act(fc1(x)));
}

function encoderLayer(w: Weights, c: EncoderConfig) {
  const norm1 = layerNorm(w.at('layer_norm1'), c.hidden_size, c.layer_norm_eps);
  const attention = selfAttention(w.at('self_attn'), c.hidden_size, c.num_attention_heads);
  const norm2 = layerNorm(w.at('layer_norm2'), c.hidden_size, c.layer_norm_eps);
  const feedForward = mlp(w.at('mlp'), c);
  return (x: Tensor, options: AttentionOptions) => {
    x = x.add(attention(norm1(x), options));
    return x.add(feedForward(norm2(x)));
  };
}

/** All hidden states, [B, L, D] each: the input first, the last layer's output last. */
export function encoder(w: Weights, c: EncoderConfig) {
  const layers = Array.from({ length: c.num_hidden_layers }, (_, i) => encoderLayer(w.at('layers').at(i), c));
  return (x: Tensor, options: AttentionOptions = {}): Tensor[] => {
    const states = [x];
    for (const layer of layers) states.push(layer(states.at(-1)!, options));
    return states;
  };
}
