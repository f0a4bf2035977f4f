import * as ref from '../reference.ts';
import { type Input, testOp } from './harness.ts';

const SUMMED = { all: 2 ** -19, from: 'a matrix product with k <= 54' };
type Case = [name: string, options: ref.Conv, inputs: Input[]];
const CASES: Case[] = [
  ['one pixel', {}, [[1, 3, 5, 5], [4, 3, 1, 1], [4]]],
  ['three by three, padded', { padding: 1 }, [[2, 3, 5, 7], [4, 3, 3, 3], [4]]],
  ['patches', { stride: 4 }, [[2, 3, 9, 8], [5, 3, 4, 4], [5]]],
  ['stride', { stride: 2, padding: 1 }, [[1, 2, 8, 9], [3, 2, 3, 3], [3]]],
  ['dilation', { dilation: 2, padding: 2 }, [[1, 2, 7, 6], [3, 2, 3, 2], [3]]],
  ['groups', { groups: 2, padding: 1 }, [[2, 6, 4, 5], [4, 3, 3, 3], [4]]],
  ['depthwise', { groups: 4 }, [[1, 4, 5, 5], [4, 1, 3, 3], [4]]],
];
for (const [name, options, inputs] of CASES) {
  testOp(`conv2d, ${name}`, {
    op: (x, w, b) => x.conv2d(w, b, options),
    reference: (x, w, b) => ref.conv2d(x, w, b, options),
    inputs: [inputs],
    tolerance: SUMMED,
    layouts: name.startsWith('three') ? ['plain', 'permuted', 'sliced', 'expanded'] : ['plain'],
    grad: inputs,
  });
}
testOp('conv2d without bias', {
  op: (x, w) => x.conv2d(w, undefined, { stride: [2, 1], padding: [0, 1] }),
  reference: (x, w) => {
    const tall = ref.conv2d(ref.pad(x, [1, 1]), w, undefined, {});
    return ref.slice(tall, 2, 0, tall.shape[2]!, 2);
  },
  inputs: [
    [
      [1, 2, 6, 5],
      [3, 2, 3, 3],
    ],
  ],
  tolerance: SUMMED,
  layouts: ['plain'],
  grad: [
    [1, 2, 6, 5],
    [3, 2, 3, 3],
  ],
});
testOp('conv2d of patches', {
  op: (x, w, b) => x.conv2d(w, b, { stride: 2 }),
  reference: (x, w, b) => ref.conv2d(x, w, b, { stride: 2 }),
  inputs: [[[1, 2, 4, 5], [3, 2, 2, 2], [3]]],
  tolerance: SUMMED,
  layouts: ['permuted', 'sliced'],
  grad: [[1, 2, 4, 5], [3, 2, 2, 2], [3]],
});
