import { expect, it } from 'vitest';
import { estimate } from '../../src/exec/estimate.ts';
import { full, grad, tensor } from '../../src/index.ts';
import { upsample_nearest } from '../../src/ops/upsample.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import * as ref from '../reference.ts';
import { type Input, testOp } from './harness.ts';

const SUMMED = { all: 2 ** -19, from: 'sums of at most 180 products' };
type Case = [name: string, options: ref.Conv, inputs: Input[], grad?: Input[]];
const CASES: Case[] = [
  ['one pixel', {}, [[1, 3, 5, 5], [4, 3, 1, 1], [4]]],
  ['three by three, padded', { padding: 1 }, [[2, 3, 5, 7], [4, 3, 3, 3], [4]]],
  ['patches', { stride: 4 }, [[2, 3, 9, 8], [5, 3, 4, 4], [5]]],
  [
    'whole quads, two segments, parts of a block of channels',
    { padding: 1 },
    [[2, 17, 5, 8], [9, 17, 3, 3], [9]],
    [[2, 3, 3, 4], [2, 3, 3, 3], [2]],
  ],
  ['a wide window', { padding: 2 }, [[1, 2, 6, 7], [2, 2, 5, 4], [2]]],
  ['a flat window', { padding: 1 }, [[1, 2, 4, 6], [2, 2, 1, 3], [2]]],
  ['a tall window', {}, [[1, 2, 7, 3], [2, 2, 4, 1], [2]]],
  ['a border wider than the window', { padding: 2, stride: 2 }, [[1, 2, 3, 4], [2, 2, 1, 2], [2]]],
  ['stride', { stride: 2, padding: 1 }, [[1, 2, 8, 9], [3, 2, 3, 3], [3]]],
  ['dilation', { dilation: 2, padding: 2 }, [[1, 2, 7, 6], [3, 2, 3, 2], [3]]],
  ['groups', { groups: 2, padding: 1 }, [[2, 6, 4, 5], [4, 3, 3, 3], [4]]],
  ['depthwise', { groups: 4 }, [[1, 4, 5, 5], [4, 1, 3, 3], [4]]],
];
for (const [name, options, inputs, grad = inputs] of CASES) {
  testOp(`conv2d, ${name}`, {
    op: (x, w, b) => x.conv2d(w, b, options),
    reference: (x, w, b) => ref.conv2d(x, w, b, options),
    inputs: [inputs],
    tolerance: SUMMED,
    layouts: name.startsWith('three') ? ['plain', 'permuted', 'sliced', 'expanded'] : ['plain'],
    grad,
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
testOp('conv2d with another border at each side', {
  op: (x, w) =>
    x.conv2d(w, undefined, {
      stride: 2,
      padding: [
        [0, 1],
        [2, 1],
      ],
    }),
  reference: (x, w) => ref.conv2d(ref.pad(x, [2, 1, 0, 1]), w, undefined, { stride: 2 }),
  inputs: [
    [
      [2, 3, 6, 8],
      [5, 3, 3, 3],
    ],
  ],
  tolerance: SUMMED,
  layouts: ['plain', 'permuted'],
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

for (const [name, options, inputs] of [
  ['pixels', {}, [[2, 6, 3, 5], [7, 6, 1, 1], [7]]],
  ['pixels of groups', { groups: 2 }, [[2, 6, 3, 4], [4, 3, 1, 1], [4]]],
  ['windows', { padding: 1 }, [[2, 3, 4, 5], [4, 3, 3, 3], [4]]],
] as [string, ref.Conv, Input[]][]) {
  testOp(`conv2d of ${name}, channels last`, {
    op: (x, w, b) => x.conv2d(w, b, { ...options, memory_format: 'channels_last' }),
    reference: (x, w, b) => ref.conv2d(x, w, b, options),
    inputs: [inputs],
    tolerance: SUMMED,
    layouts: ['plain', 'permuted', 'sliced', 'expanded'],
    grad: inputs,
  });
}
it('conv2d with channels last has pixels as rows, with the same bits and no copy', async () => {
  const of = (shape: number[]) => {
    const size = shape.reduce((n, d) => n * d, 1);
    return tensor(
      Float32Array.from({ length: size }, (_, i) => Math.sin(i * i)),
      shape,
    );
  };
  const rows = (y: Tensor) => y.flatten(2).transpose(1, 2);
  const [w, b] = [of([20, 24, 1, 1]), of([20])] as const;
  const x = of([2, 24, 6, 6]);
  const y = rows(x.conv2d(w, b, { memory_format: 'channels_last' }));
  expect(estimate([y.contiguous()])).toMatchObject({ dispatches: 1, intermediate_bytes: 0 });
  for (const few of [x, x.narrow(2, 0, 1), x.narrow(2, 0, 1).narrow(3, 0, 2)]) {
    const last = few.conv2d(w, b, { memory_format: 'channels_last' }); // of few rows by other kernels
    expect(await rows(last).data()).toEqual(await rows(few.conv2d(w, b)).data());
  }
  expect(() => x.conv2d(w, b, { memory_format: 'nhwc' as 'channels_last' })).toThrow(/memory_format.*channels_last/);
});

for (const [name, size, options] of [
  ['', undefined, { padding: 1 }],
  ['cut by a row and a column', [5, 7], { padding: 1 }],
  ['with strides', undefined, { padding: 1, stride: 2 }],
] as const) {
  testOp(`conv2d of a picture in twice its size ${name}`, {
    op: (x, w) => upsample_nearest(x, size).conv2d(w, undefined, options),
    reference: (x, w) => {
      const twice = ref.nd(
        [x.shape[0]!, x.shape[1]!, ...(size ?? [2 * x.shape[2]!, 2 * x.shape[3]!])],
        ([n, c, i, j]) => ref.at(x, [n!, c!, i! >> 1, j! >> 1]),
      );
      return ref.conv2d(twice, w, undefined, options);
    },
    inputs: [
      [
        [2, 3, 3, 4],
        [5, 3, 3, 3],
      ],
    ],
    tolerance: SUMMED,
    layouts: ['plain', 'permuted', 'sliced'],
    grad: [
      [1, 2, 3, 4],
      [3, 2, 3, 3],
    ],
  });
}
it('conv2d of a picture in twice its size reads the small one', async () => {
  const x = tensor(
    Float32Array.from({ length: 2 * 5 * 4 }, (_, i) => Math.sin(i)),
    [1, 2, 5, 4],
  );
  const w = tensor(
    Float32Array.from({ length: 6 * 9 }, (_, i) => Math.cos(i)),
    [3, 2, 3, 3],
  );
  const y = upsample_nearest(x).conv2d(w, undefined, { padding: 1 });
  expect(estimate([y])).toMatchObject({ dispatches: 1, intermediate_bytes: 0 });
  const whole = await upsample_nearest(x).realize();
  expect(await y.data()).toEqual(await whole.conv2d(w, undefined, { padding: 1 }).data());
});

it('conv2d and its gradients make no columns', () => {
  const [x, w] = [full([2, 64, 32, 32], 1), full([64, 64, 3, 3], 1)];
  const y = x.conv2d(w, undefined, { padding: 1 }).silu();
  expect(estimate([y])).toMatchObject({ dispatches: 1, intermediate_bytes: 0 });
  const backward = estimate(grad(y.sum(), [x, w])); // columns would be nine times x
  expect(backward.intermediate_bytes).toBeLessThan(8 * x.nbytes);
});
