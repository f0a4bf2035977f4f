// Layers: weights named at their place, applied like a function.
import type { Weights } from '../io/weights.ts';
import { type Conv2dOptions, conv2d as convolve } from '../ops/conv.ts';
import { embedding as lookUp } from '../ops/gather.ts';
import type { Tensor } from '../tensor/tensor.ts';

export type Layer = (x: Tensor) => Tensor;

/** x W^T + b, W [out, in] as in torch.nn.Linear, and what active LoRA adapters add. */
export function linear(w: Weights, inFeatures: number, outFeatures: number, { bias = true } = {}): Layer {
  const weight = w.matrix('weight', [outFeatures, inFeatures]);
  const shift = bias ? w.get('bias', [outFeatures]) : undefined;
  const adapted = w.adapted(weight);
  return w.layer((x) => {
    const y = x.matmul(weight.transpose(0, 1));
    return adapted().reduce(
      (sum, { a, b, scale }) => sum.add(x.matmul(a.transpose(0, 1)).matmul(b.transpose(0, 1)).mul(scale)),
      shift ? y.add(shift) : y,
    );
  });
}

export function layerNorm(w: Weights, size: number, eps: number): Layer {
  const weight = w.get('weight', [size]);
  const bias = w.get('bias', [size]);
  return w.layer((x) => x.layer_norm(weight, bias, eps), 'norm');
}

export function rmsNorm(w: Weights, size: number, eps: number): Layer {
  const weight = w.get('weight', [size]);
  return w.layer((x) => x.rms_norm(weight, eps), 'norm');
}

/** torch.nn.GroupNorm: [N, C, ...] over each of `groups` groups of channels. */
export function groupNorm(w: Weights, groups: number, channels: number, eps: number): Layer {
  const weight = w.get('weight', [channels]);
  const bias = w.get('bias', [channels]);
  return w.layer((x) => x.group_norm(groups, weight, bias, eps), 'norm');
}

/** Rows of a table [size, dim] by id. */
export function embedding(w: Weights, size: number, dim: number): Layer {
  const weight = w.matrix('weight', [size, dim], 'table');
  return w.layer((ids) => lookUp(ids, weight));
}

export type ConvConfig = Conv2dOptions & { kernel_size: number | readonly [number, number]; bias?: boolean };

/** torch.nn.Conv2d: [N, C, H, W] to [N, O, oh, ow], and what active LoRA adapters add. */
export function conv2d(w: Weights, inChannels: number, outChannels: number, config: ConvConfig): Layer {
  const { kernel_size, bias = true, groups = 1 } = config;
  const [kh, kw] = typeof kernel_size === 'number' ? [kernel_size, kernel_size] : kernel_size;
  const weight = w.get('weight', [outChannels, inChannels / groups, kh, kw]);
  const b = bias ? w.get('bias', [outChannels]) : undefined;
  const adapted = w.adapted(weight);
  return w.layer((x) =>
    adapted().reduce(
      (sum, { a, b, scale }) => sum.add(convolve(convolve(x, a, undefined, config), b).mul(scale)),
      convolve(x, weight, b, config),
    ),
  );
}
