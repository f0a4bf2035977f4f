// Every argument of the public ops in turn is something else. What comes of it is a result, or an error in words.
import { expect, it } from 'vitest';
import * as tessera from '../../src/index.ts';
import { type Tensor, tensor } from '../../src/index.ts';
import * as methods from '../../src/ops/methods.ts';
import { answerTo, isInWords, replaced } from '../anything.ts';

const x = tensor(
  Array.from({ length: 24 }, (_, i) => i / 7),
  [2, 3, 4],
);
const ids = tensor([[0, 1, 2]], { dtype: 'i32' });
const logits = tensor([[1, 2, 3, 4]]);
const picture = tensor(new Float32Array(75), [1, 3, 5, 5]);
const pixels = { width: 1, height: 1, channels: 3, data: Uint8Array.of(1, 2, 3) };
const random = { position: 0, seed_low: 1, seed_high: 2 };

/** A call of each that works; what is not here takes tensors alone. */
const CALLS: Record<string, unknown[]> = {
  arange: [3, 'i32'],
  concat: [[x, x], 0],
  cat: [[x, x], 0],
  stack: [[x, x], 0],
  tensor: [[1, 2], [2], { dtype: 'i32' }],
  scalar: [1, 'f32'],
  full: [[2], 1, 'f32'],
  zeros: [[2], { dtype: 'f32' }],
  ones: [[2], { dtype: 'f32' }],
  randn: [[2], { seed: 1, position: 0 }],
  draw_token: [logits, random],
  likeliest_token: [logits],
  top_k: [logits, 2],
  top_p: [logits, 0.5],
  min_p: [logits, 0.5],
  repetition_penalty: [logits, ids, 1.2, 2],
  to: [x, 'i32'],
  where: [x.gt(1), x, 0],
  masked_fill: [x, x.gt(1), 0],
  gelu: [x, 'tanh'],
  pow: [x, 2],
  gather: [x, 2, tensor([[[0]]], { dtype: 'i32' }).expand([2, 3, 1])],
  embedding: [ids, logits.reshape([4, 1])],
  index_select: [x, 0, tensor([0], { dtype: 'i32' })],
  matmul: [x, x.transpose(-1, -2), 'f32'],
  scaled_dot_product_attention: [
    x,
    x,
    x,
    { attn_mask: x.select(0, 0).matmul(x.select(0, 1).transpose(0, 1)), scale: 1 },
  ],
  conv2d: [picture, picture, tensor([1]), { stride: 1, padding: [1, 1], dilation: 1, groups: 1 }],
  layer_norm: [x, tensor([1, 2, 3, 4]), tensor([1, 2, 3, 4]), 1e-5],
  rms_norm: [x, tensor([1, 2, 3, 4]), 1e-5],
  group_norm: [x, 3, tensor([1, 2, 3]), tensor([1, 2, 3]), 1e-5],
  normalize: [x, -1, 1e-5],
  overwrite: [x.add(0), x, 0, 0],
  pad: [x, [1, 1], 0],
  quantile: [x, 0.5, -1, true],
  sum: [x, 0, true],
  mean: [x, [0, 1], true],
  max: [x, 0, true],
  min: [x, 0, true],
  argmax: [x, 0, true],
  argmin: [x, 0, true],
  softmax: [x, -1],
  log_softmax: [x, -1],
  reshape: [x, [-1]],
  permute: [x, [2, 0, 1]],
  transpose: [x, 0, 1],
  expand: [x, [2, 3, 4]],
  slice: [x, 0, 0, 2, 1],
  flip: [x, 0],
  narrow: [x, 0, 0, 1],
  select: [x, 0, 1],
  split: [x, 1, 0],
  squeeze: [x, 0],
  unsqueeze: [x, 0],
  flatten: [x, 0, 1],
  grad: [x.sum(), [x]],
  cross_entropy: [logits, tensor([1], { dtype: 'i32' }), { ignore_index: -100 }],
  contrastive_loss: [
    tensor([
      [1, 2],
      [3, 4],
    ]),
  ],
  mse_loss: [x, x],
  l2_loss: [x, x],
  noise_loss: [x, x, { snr: [1, 2], gamma: 5 }],
  writeSafetensors: [new Map([['a', { dtype: 'F32', shape: [1], data: Float32Array.of(1) }]]), [['a', 'b']]],
  make_image_grid: [[pixels, pixels], 1, 2],
  formatTrace: [{ type: 'plan', nodes: 1, cached: true }],
  setTrace: [() => {}],
  tokenizer_image_token: ['a', { encode: () => [1], bos_token_id: 1 }],
  compile: [(t: Tensor) => t],
  run: [[x.add(1)], {}],
  upsample_nearest: [picture, [10, 10]],
};
const names = new Set([...Object.keys(methods), ...Object.keys(CALLS)].filter((name) => name in tessera));
it('is a result, or an error in words', async () => {
  const broken: string[] = [];
  for (const name of names) {
    const fn = (tessera as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!;
    const args = CALLS[name] ?? Array.from({ length: Math.max(1, fn.length) }, () => x);
    const whole = await answerTo(() => fn(...args));
    if (whole !== '') broken.push(`${name}: ${whole}`);
    for (const [what, given] of [['nothing', []] as [string, unknown[]], ...replaced(args)]) {
      const answer = await answerTo(() => fn(...given));
      if (!isInWords(answer)) broken.push(`${name}(${what}): ${answer}`);
    }
  }
  tessera.setTrace(undefined);
  expect(broken).toEqual([]);
});

it('is no file of tensors, and leaves none', async () => {
  const save = tessera.saveSafetensors as (...args: unknown[]) => Promise<void>;
  const plan = [['a', { dtype: 'F32', shape: [1] }]];
  const path = 'nowhere/a.safetensors';
  await expect(save(1, plan, () => Float32Array.of(1))).rejects.toThrow('[safetensors] path: got 1, want a text');
  await expect(save(path, plan)).rejects.toThrow('[safetensors] read: got nothing, want a function');
  await expect(save(path, { a: 1 }, () => 1)).rejects.toThrow('tensors: got an object, want a Map, or pairs, of names');
  await expect(save(path, [['a', x]], () => 1)).rejects.toThrow("a: got dtype 'f32', shape an array [2, 3, 4], want a");
  await expect(save(path, plan, () => 1, { a: 'b' })).rejects.toThrow('metadata: got an object, want a Map, or pairs');
});
