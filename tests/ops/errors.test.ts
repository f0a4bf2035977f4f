// What the common mistakes are answered with. The texts are part of the API.
import { describe, expect, it } from 'vitest';
import { concat, full, stack, tensor } from '../../src/index.ts';

const x = tensor(new Float32Array(24), [2, 3, 4]);
const ids = tensor([0, 5], { dtype: 'i32' });
const image = tensor(new Float32Array(75), [1, 3, 5, 5]);

const MISTAKES: Record<string, () => unknown> = {
  'data of another size than the shape': () => tensor([1, 2, 3], [2, 2]),
  'ragged rows': () => tensor([[1, 2], [3]]),
  'rows whose sizes add up': () => tensor([[1, 2], [3], [4, 5, 6]]),
  'bytes of no type': () => tensor(Uint8Array.of(1, 2)),
  'an integer of more than 32 bits': () => tensor(BigInt64Array.of(2n ** 31n)),
  'the name of a type elsewhere': () => x.to('float32' as 'f32'),
  'such a name for new values': () => tensor([1], { dtype: 'int64' as 'i32' }),
  'shapes that do not broadcast': () => x.add(tensor([1, 2, 3])),
  'a condition that does not broadcast': () => tensor([true, false]).where(x, 0),
  'a dimension that is not there': () => x.sum(3),
  'a dimension that is no integer': () => x.softmax(0.5),
  'a dimension of a number': () => tensor(1).sum(0),
  'a reshape to another size': () => x.reshape([5, -1]),
  'sizes below zero': () => tensor([1, 2, 3, 4, 5, 6]).reshape([-2, -3]),
  'two sizes to be found': () => x.reshape([-1, -1]),
  'a permutation that forgets one': () => x.permute([0, 1]),
  'an expansion of a size that is not 1': () => x.expand([2, 6, 4]),
  'a step backwards': () => x.slice(0, 0, 2, -1),
  'half an element': () => x.slice(0, 0.5, 2.5),
  'more than there is': () => x.narrow(1, 2, 2),
  'an index past the end': () => x.select(1, 3),
  'parts that do not add up': () => x.split([1, 1], 2),
  'concat of nothing': () => concat([]),
  'concat of unequal shapes': () => concat([x, x.transpose(0, 1)], 2),
  'stack of unequal shapes': () => stack([x, x.slice(0, 0, 1)]),
  'padding for half a dimension': () => x.pad([1, 1, 1]),
  'the largest of nothing': () => x.slice(2, 0, 0).max(2),
  'the place of the largest of nothing': () => x.slice(2, 0, 0).argmax(2),
  'a product of unequal sizes': () => x.matmul(tensor(new Float32Array(8), [2, 4])),
  'a product of unequal sizes, transposed': () => x.matmul(tensor(new Float32Array(12), [3, 4])),
  'a product with a number': () => x.matmul(tensor(2)),
  'softmax of integers': () => ids.softmax(0),
  'log_softmax of integers': () => ids.log_softmax(0),
  'layer_norm of integers': () => ids.layer_norm(),
  'rms_norm of integers': () => ids.rms_norm(),
  'normalize of integers': () => ids.normalize(),
  'negation of u32': () => ids.to('u32').neg(),
  'abs of u32': () => ids.to('u32').abs(),
  'a mask of integers': () => x.scaled_dot_product_attention(x, x, { attn_mask: ids }),
  'weights of another length': () => x.layer_norm(tensor([1, 2, 3])),
  'an id out of range': () => ids.embedding(tensor([[1], [2]])),
  'ids that are floats': () => tensor([0, 1]).embedding(tensor([[1], [2]])),
  'an index of another shape': () => x.gather(2, tensor([[[0]]], { dtype: 'i32' })),
  'channels that do not fit': () => image.conv2d(tensor(new Float32Array(8), [1, 2, 2, 2])),
  'a bias that does not fit': () => image.conv2d(full([4, 3, 2, 2], 1), tensor([1, 2])),
  'a kernel larger than the image': () => image.conv2d(full([4, 3, 7, 7], 1)),
  'a write outside': () => x.overwrite(x, 1, 1),
  'a write into f16': () => x.to('f16').overwrite(x.slice(0, 0, 1), 0, 0),
};

describe('the answer to', () => {
  it('common mistakes', () => {
    const answers = Object.entries(MISTAKES).map(([what, make]) => {
      try {
        make();
      } catch (error) {
        return `${what}: ${(error as Error).message}`;
      }
      return `${what}: no error`;
    });
    expect(`\n${answers.join('\n')}\n`).toMatchInlineSnapshot(`
      "
      data of another size than the shape: [tensor] data: got 3 values, want 4 for the shape [2, 2]
      ragged rows: [tensor] data: got ragged arrays, [2] beside [1], want equal shapes
      rows whose sizes add up: [tensor] data: got ragged arrays, [2] beside [1], want equal shapes
      bytes of no type: [tensor] data: got Uint8Array, which may mean several types; give one, as in { dtype: 'bool' }
      an integer of more than 32 bits: [tensor] data: got 2147483648, want 32-bit integers
      the name of a type elsewhere: [to] dtype: got 'float32', want f32, f16, i32, u32 or bool
      such a name for new values: [tensor] dtype: got 'int64', want f32, f16, i32, u32 or bool
      shapes that do not broadcast: [add] shapes do not broadcast: got [2, 3, 4] and [3]
      a condition that does not broadcast: [where] shapes do not broadcast: got [2] and [2, 3, 4]
      a dimension that is not there: [sum] dim: got 3, want -3..2
      a dimension that is no integer: [softmax] dim: got 0.5, want -3..2
      a dimension of a number: [sum] dim: got 0, want a tensor with dimensions
      a reshape to another size: [reshape] shape: got [5, -1] for 24 elements of [2, 3, 4]
      sizes below zero: [reshape] shape: got [-2, -3] for 6 elements of [6]
      two sizes to be found: [reshape] shape: got [-1, -1] for 24 elements of [2, 3, 4]
      a permutation that forgets one: [permute] order: got [0, 1], want each of the 3 dimensions once
      an expansion of a size that is not 1: [expand] shapes do not broadcast: got [2, 3, 4] and [2, 6, 4]
      a step backwards: [slice] step: got -1, want a positive integer
      half an element: [slice] bounds: got 0.5, want integers
      more than there is: [narrow] dim 1: got 2..4, want within 0..3
      an index past the end: [narrow] dim 1: got 3..4, want within 0..3
      parts that do not add up: [split] sizes: got [1, 1], want a sum of 4
      concat of nothing: [concat] tensors: got none, want at least one
      concat of unequal shapes: [concat] shapes: got [3, 2, 4] beside [2, 3, 4], want them equal but in dim 2
      stack of unequal shapes: [concat] shapes: got [1, 1, 3, 4] beside [1, 2, 3, 4], want them equal but in dim 0
      padding for half a dimension: [pad] padding: got 3 numbers, want two for each of at most 3 dimensions
      the largest of nothing: [max] x: got [2, 3, 0], nothing to reduce
      the place of the largest of nothing: [argmax] x: got [2, 3, 0], nothing to choose from
      a product of unequal sizes: [matmul] inner sizes differ: got a [2, 3, 4], b [2, 4]; transpose b?
      a product of unequal sizes, transposed: [matmul] inner sizes differ: got a [2, 3, 4], b [3, 4]; transpose b?
      a product with a number: [matmul] a number has no product of matrices; use mul
      softmax of integers: [softmax] x: got i32, want f32 or f16; call .to('f32')
      log_softmax of integers: [log_softmax] x: got i32, want f32 or f16; call .to('f32')
      layer_norm of integers: [layer_norm] x: got i32, want f32 or f16; call .to('f32')
      rms_norm of integers: [rms_norm] x: got i32, want f32 or f16; call .to('f32')
      normalize of integers: [normalize] x: got i32, want f32 or f16; call .to('f32')
      negation of u32: [neg] x: got u32, want i32 or a float; call .to('i32')
      abs of u32: [abs] x: got u32, want i32 or a float; call .to('i32')
      a mask of integers: [scaled_dot_product_attention] attn_mask: got i32, want bool or a float; call .ne(0)
      weights of another length: [layer_norm] weight, bias: got [3], want [4] for x [2, 3, 4]
      an id out of range: [embedding] index: got 5, want 0..1
      ids that are floats: [embedding] index: got f32, want i32 or u32
      an index of another shape: [gather] index: got [1, 1, 1], want the shape [2, 3, 4] but for dim 2
      channels that do not fit: [conv2d] shapes: got x [1, 3, 5, 5], weight [1, 2, 2, 2], groups 1; want x [N, C, H, W], weight [O, C / groups, kh, kw]
      a bias that does not fit: [conv2d] bias: got [2], want [4]
      a kernel larger than the image: [conv2d] x: got [1, 3, 5, 5], smaller than the kernel 7 x 7
      a write outside: [overwrite] got [2, 3, 4] at 1 of dim 1, want it within [2, 3, 4]
      a write into f16: [overwrite] state: got f16, want a type of four bytes
      "
    `);
  });
  it('the item of several', async () => {
    await expect(x.item()).rejects.toThrow('[tensor] item: got shape [2, 3, 4], want one element');
  });
});
