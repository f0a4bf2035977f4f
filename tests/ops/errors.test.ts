// What the common mistakes are answered with. The texts are part of the API.
import { describe, expect, it } from 'vitest';
import { concat, full, stack, tensor } from '../../src/index.ts';

const x = tensor(new Float32Array(24), [2, 3, 4]);
const ids = tensor([0, 5], { dtype: 'i32' });
const image = tensor(new Float32Array(75), [1, 3, 5, 5]);

const MISTAKES: Record<string, () => unknown> = {
  'data of another size than the shape': () => tensor([1, 2, 3], [2, 2]),
  'ragged rows': () => tensor([[1, 2], [3]]),
  'shapes that do not broadcast': () => x.add(tensor([1, 2, 3])),
  'a condition that does not broadcast': () => tensor([true, false]).where(x, 0),
  'a dimension that is not there': () => x.sum(3),
  'a dimension that is no integer': () => x.softmax(0.5),
  'a dimension of a number': () => tensor(1).sum(0),
  'a reshape to another size': () => x.reshape([5, -1]),
  'two sizes to be found': () => x.reshape([-1, -1]),
  'a permutation that forgets one': () => x.permute([0, 1]),
  'an expansion of a size that is not 1': () => x.expand([2, 6, 4]),
  'a step backwards': () => x.slice(0, 0, 2, -1),
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
    expect(`\n${answers.join('\n')}\n`).toMatchInlineSnapshot();
  });
  it('mistakes that show later', async () => {
    const later = {
      'item of several': () => x.item(),
      'negation of u32': () => tensor([1], { dtype: 'u32' }).neg().data(),
    };
    const answers: string[] = [];
    for (const [what, make] of Object.entries(later)) {
      answers.push(await make().then(() => `${what}: no error`, (error: Error) => `${what}: ${error.message}`));
    }
    expect(`\n${answers.join('\n')}\n`).toMatchInlineSnapshot();
  });
});
