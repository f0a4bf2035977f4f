// Activations by the names of config.json (transformers' ACT2FN).
import { gelu, quick_gelu, relu, silu, tanh } from '../ops/elementwise.ts';
import type { Tensor } from '../tensor/tensor.ts';

const ACTIVATIONS: Record<string, (x: Tensor) => Tensor> = {
  quick_gelu,
  gelu: (x) => gelu(x),
  gelu_new: (x) => gelu(x, 'tanh'),
  gelu_pytorch_tanh: (x) => gelu(x, 'tanh'),
  relu,
  silu,
  swish: silu,
  tanh,
};

export function activation(name: string): (x: Tensor) => Tensor {
  const found = ACTIVATIONS[name];
  if (!found)
    throw new RangeError(`[config] hidden_act: got ${name}, want one of ${Object.keys(ACTIVATIONS).join(', ')}`);
  return found;
}
