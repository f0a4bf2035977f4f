// What the common mistakes are answered with. The texts are part of the API.
import { describe, expect, it } from 'vitest';
import {
  arange,
  concat,
  flatten,
  full,
  group_norm,
  layer_norm,
  mean,
  ones,
  scalar,
  slice,
  stack,
  sum,
  tensor,
  where,
  zeros,
} from '../../src/index.ts';

const x = tensor(new Float32Array(24), [2, 3, 4]);
const ids = tensor([0, 5], { dtype: 'i32' });
const image = tensor(new Float32Array(75), [1, 3, 5, 5]);

/** What somebody without types may give. */
// biome-ignore lint/suspicious/noExplicitAny: mistakes have no types
const any = (value?: unknown) => value as any;

const MISTAKES: Record<string, () => unknown> = {
  'a list as an operand': () => x.add(any([1, 2])),
  'a text as an operand': () => x.mul(any('2')),
  'no operand': () => x.sub(any()),
  'a list in front': () => where(tensor([true]), any([1]), 0),
  'a condition that is a boolean': () => where(any(true), x, 0),
  'a number to multiply matrices by': () => x.matmul(any(3)),
  'a row to multiply by': () => x.matmul(any([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]])),
  'a size of the row as in torch': () => x.layer_norm(any([4])),
  'keys that are no tensor': () => x.scaled_dot_product_attention(any(new Float32Array(4)), x),
  'ids that are a list': () => tensor([[1], [2]]).index_select(0, any([1])),
  'a value to write that is a number': () => x.overwrite(any(1), 0, 0),
  'tensors one by one': () => concat(any(x), any(x)),
  'a list of lists': () => stack([x, any([1])]),
  'values that are an object': () => tensor(any({ a: 1 })),
  'values that are a text': () => tensor(any([[1, '2']])),
  'no values': () => tensor(any()),
  'values of 64 bits': () => tensor(any(Float64Array.of(1))),
  'a size for a shape': () => tensor([1, 2], any(2)),
  'a type for a shape': () => tensor([1, 2], any('f16')),
  'a type for options': () => zeros([2], any('f16')),
  'a negative size': () => zeros([2, -1]),
  'half a size': () => ones([1.5]),
  'a size that is not a number': () => full([Number.NaN], 1),
  'sizes one by one': () => zeros(any(2), any(3)),
  'sizes that are an object': () => full(any({}), 1),
  'no value to fill with': () => full([2], any()),
  'a number that is a text': () => scalar(any('1')),
  'fewer than no indices': () => arange(-1),
  'half an index': () => arange(any('2')),
  'indices of a type': () => arange(2, any('u32')),
  'an expansion by a text': () => x.expand(any('2')),
  'an expansion to less than nothing': () => x.expand([-1, 3, 4]),
  'a reshape one by one': () => x.reshape(any(4)),
  'a reshape to a text': () => x.reshape(any(['2', 12])),
  'a permutation one by one': () => x.permute(any(2)),
  'a dimension that is a text': () => x.sum(any('1')),
  'parts of no size': () => x.split(0),
  'padding by one number': () => x.pad(any(1)),
  'a stride of nothing': () => image.conv2d(image, undefined, { stride: 0 }),
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
  'groups that do not divide the channels': () => x.group_norm(4),
  'a row for group_norm': () => x.flatten(0).group_norm(1),
  'weights for other channels': () => x.group_norm(3, tensor([1, 2])),
  'an id out of range': () => ids.embedding(tensor([[1], [2]])),
  'ids that are floats': () => tensor([0, 1]).embedding(tensor([[1], [2]])),
  'an index of another shape': () => x.gather(2, tensor([[[0]]], { dtype: 'i32' })),
  'channels that do not fit': () => image.conv2d(tensor(new Float32Array(8), [1, 2, 2, 2])),
  'a bias that does not fit': () => image.conv2d(full([4, 3, 2, 2], 1), tensor([1, 2])),
  'a kernel larger than the image': () => image.conv2d(full([4, 3, 7, 7], 1)),
  'a write outside': () => x.overwrite(x, 1, 1),
  'a write at half a place': () => x.overwrite(x.slice(0, 0, 1), 0, 0.5),
  'a list to add up': () => sum(any([1, 2])),
  'values of the host to average': () => mean(any(new Float32Array(4))),
  'a list to normalise': () => layer_norm(any([1, 2])),
  'nothing to normalise in groups': () => group_norm(any(), 1),
  'a list to slice': () => slice(any([1, 2]), 0),
  'a list to flatten': () => flatten(any([[1], [2]])),
  'dimensions the wrong way round': () => x.flatten(2, 1),
  'one stride in a list': () => image.conv2d(image, undefined, { stride: any([1]) }),
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
      a list as an operand: [add] other: got an array [1, 2], want a tensor or a number: tensor([1, 2])
      a text as an operand: [mul] other: got '2', want a tensor or a number
      no operand: [sub] other: got nothing, want a tensor or a number
      a list in front: [where] a: got an array [1], want a tensor or a number: tensor([1])
      a condition that is a boolean: [where] condition: got true, want a tensor
      a number to multiply matrices by: [matmul] b: got 3, want a tensor
      a row to multiply by: [matmul] b: got an array [[1, 2, 3, 4, 5, 6, 7, 8, ...]], want a tensor: tensor([[1, 2, 3, 4, 5, 6, 7, 8, ...]])
      a size of the row as in torch: [layer_norm] weight: got an array [4], want a tensor: tensor([4])
      keys that are no tensor: [scaled_dot_product_attention] k: got a Float32Array, want a tensor
      ids that are a list: [index_select] index: got an array [1], want a tensor: tensor([1])
      a value to write that is a number: [overwrite] value: got 1, want a tensor
      tensors one by one: [concat] tensors: got a Tensor, want an array of tensors: [x, ...]
      a list of lists: [stack] tensors[1]: got an array [1], want a tensor: tensor([1])
      values that are an object: [tensor] data: got an object, want numbers or booleans: one, nested arrays or a typed array
      values that are a text: [tensor] data: got '2' among the values, want numbers or booleans: one, nested arrays or a typed array
      no values: [tensor] data: got nothing, want numbers or booleans: one, nested arrays or a typed array
      values of 64 bits: [tensor] data: got a Float64Array, and float64 is not a dtype here; want Float32Array.from(values)
      a size for a shape: [tensor] shape: got 2, want an array of whole numbers from 0 on: [2, ...]
      a type for a shape: [tensor] shape: got 'f16', want an array of whole numbers from 0 on
      a type for options: [zeros] options: got 'f16', want an object, as in { dtype: 'f32' }
      a negative size: [zeros] shape: got [2, -1], want whole numbers from 0 on
      half a size: [ones] shape: got [1.5], want whole numbers from 0 on
      a size that is not a number: [full] shape: got [NaN], want whole numbers from 0 on
      sizes one by one: [zeros] shape: got 2, want an array of whole numbers from 0 on: [2, ...]
      sizes that are an object: [full] shape: got an object, want an array of whole numbers from 0 on
      no value to fill with: [full] value: got nothing, want a number
      a number that is a text: [scalar] value: got '1', want a number
      fewer than no indices: [arange] n: got -1, want a whole number from 0 on
      half an index: [arange] n: got '2', want a whole number from 0 on
      indices of a type: [arange] dtype: got 'u32', want i32 or f32
      an expansion by a text: [expand] shape: got '2', want an array of whole numbers from 0 on
      an expansion to less than nothing: [expand] shape: got [-1, 3, 4], want whole numbers from 0 on
      a reshape one by one: [reshape] shape: got 4, want an array of whole numbers from -1 on: [4, ...]
      a reshape to a text: [reshape] shape: got ['2', 12], want whole numbers from -1 on
      a permutation one by one: [permute] order: got 2, want an array of whole numbers: [2, ...]
      a dimension that is a text: [sum] dim: got '1', want an array of whole numbers
      parts of no size: [split] size: got [0], want whole numbers from 1 on
      padding by one number: [pad] padding: got 1, want an array of whole numbers: [1, ...]
      a stride of nothing: [conv2d] stride: got [0, 0], want whole numbers from 1 on
      data of another size than the shape: [tensor] data: got 3 values, want 4 for the shape [2, 2]
      ragged rows: [tensor] data: got ragged arrays, [2] beside [1], want equal shapes
      rows whose sizes add up: [tensor] data: got ragged arrays, [2] beside [1], want equal shapes
      bytes of no type: [tensor] data: got a Uint8Array, which may mean several types; give one, as in { dtype: 'bool' }
      an integer of more than 32 bits: [tensor] data: got 2147483648, want what i32 holds, -2147483648 to 2147483647
      the name of a type elsewhere: [to] dtype: got 'float32', want f32, f16, i32, u32, bool, q8 or q4
      such a name for new values: [tensor] dtype: got 'int64', want f32, f16, i32, u32 or bool
      shapes that do not broadcast: [add] shapes do not broadcast: got [2, 3, 4] and [3]
      a condition that does not broadcast: [where] shapes do not broadcast: got [2] and [2, 3, 4]
      a dimension that is not there: [sum] dim: got 3, want -3..2
      a dimension that is no integer: [softmax] dim: got 0.5, want -3..2
      a dimension of a number: [sum] dim: got 0, want a tensor with dimensions
      a reshape to another size: [reshape] shape: got [5, -1] for 24 elements of [2, 3, 4]
      sizes below zero: [reshape] shape: got [-2, -3], want whole numbers from -1 on
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
      groups that do not divide the channels: [group_norm] num_groups: got 4, want a divisor of the 3 channels of x
      a row for group_norm: [group_norm] x: got [24], want [N, C, ...]
      weights for other channels: [group_norm] weight, bias: got [2], want [3] for x [2, 3, 4]
      an id out of range: [embedding] index: got 5, want 0..1
      ids that are floats: [embedding] index: got f32, want i32 or u32
      an index of another shape: [gather] index: got [1, 1, 1], want the shape [2, 3, 4] but for dim 2
      channels that do not fit: [conv2d] shapes: got x [1, 3, 5, 5], weight [1, 2, 2, 2], groups 1; want x [N, C, H, W], weight [O, C / groups, kh, kw]
      a bias that does not fit: [conv2d] bias: got [2], want [4]
      a kernel larger than the image: [conv2d] x: got [1, 3, 5, 5], smaller than the kernel 7 x 7
      a write outside: [overwrite] got [2, 3, 4] at 1 of dim 1, want it within [2, 3, 4]
      a write at half a place: [overwrite] got [1, 3, 4] at 0.5 of dim 0, want it within [2, 3, 4]
      a list to add up: [sum] x: got an array [1, 2], want a tensor: tensor([1, 2])
      values of the host to average: [mean] x: got a Float32Array, want a tensor
      a list to normalise: [layer_norm] x: got an array [1, 2], want a tensor: tensor([1, 2])
      nothing to normalise in groups: [group_norm] x: got nothing, want a tensor
      a list to slice: [slice] x: got an array [1, 2], want a tensor: tensor([1, 2])
      a list to flatten: [flatten] x: got an array [[1], [2]], want a tensor: tensor([[1], [2]])
      dimensions the wrong way round: [flatten] got dimensions 2..1 of [2, 3, 4], want the first first
      one stride in a list: [conv2d] stride: got [1], want a number or two
      a write into f16: [overwrite] state: got f16, want a type of four bytes
      "
    `);
  });
  it('the item of several', async () => {
    await expect(x.item()).rejects.toThrow('[tensor] item: got shape [2, 3, 4], want one element');
  });
});
