// Tensors larger than a binding: here bindings are made small.
import { afterAll, describe, expect, it } from 'vitest';
import { cat, Device, defaultDevice, embedding, grad, run, setDevice, type Tensor, tensor } from '../../src/index.ts';

const values = (shape: number[], seed: number) =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i * 1.7 + seed)),
    shape,
  );
const CASES: Record<string, () => Tensor> = {
  elementwise: () =>
    values([17, 61], 1)
      .mul(values([61], 2))
      .add(values([17, 61], 3))
      .gelu(),
  'f16 and back, in three': () => values([27, 64], 1).to('f16').mul(2).to('f32'),
  'odd rows': () => values([33, 31], 1).softmax(-1),
  'a transposed copy': () => values([40, 24], 1).transpose(0, 1).contiguous(),
  'conv2d, group_norm and a residual': () => {
    const x = values([1, 8, 10, 12], 1);
    const h = x.conv2d(values([8, 8, 3, 3], 2), values([8], 3), { padding: 1 });
    return h
      .group_norm(4, values([8], 4), values([8], 5))
      .silu()
      .add(x);
  },
  matmul: () =>
    values([30, 36], 1)
      .matmul(values([36, 26], 2))
      .add(values([26], 3)),
  'the sum of rows': () => values([16, 64], 1).exp().sum(-1),
  'the gradient of an embedding': () => {
    const w = values([30, 64], 1);
    return grad(
      embedding(tensor([3, 0, 3, 29], { dtype: 'i32' }), w)
        .square()
        .sum(),
      [w],
    )[0]!;
  },
  concat: () => cat([values([5, 100], 1), values([5, 100], 2).to('f32')], 1),
};

describe('a tensor of several bindings', async () => {
  const device = await defaultDevice();
  const small = new Device(device.gpu, device.adapter);
  small.capabilities.maxBinding = 2304; // 576 floats
  afterAll(() => setDevice(device));
  it.each(Object.entries(CASES))('has the bits of one: %s', async (_, make) => {
    const data = async (on: Device) => {
      await setDevice(on);
      const y = make();
      await run([y], { device: on });
      return y.data();
    };
    const want = await data(device);
    expect(want.length).toBeGreaterThan(10);
    expect(await data(small)).toEqual(want);
  });
  it('has the bits of one: a token beside weights in q4', async () => {
    const product = async (on: Device, pieces: number) => {
      await setDevice(on);
      const w = await values([100, 128], 2).to('q4').realize();
      if (pieces > 1) on.capabilities.maxBinding = 256 * Math.ceil(w.nbytes / 256 / pieces);
      return values([1, 128], 1).matmul(w.transpose(0, 1)).data();
    };
    const other = new Device(device.gpu, device.adapter);
    expect(await product(other, 2)).toEqual(await product(device, 1));
  });
  it('is refused where a kernel has no more than it can tell apart', async () => {
    await setDevice(small);
    await expect(values([9000], 1).neg().data()).rejects.toThrow('split the tensor');
  });
});
