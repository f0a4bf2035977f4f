import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import * as tessera from '../../src/index.ts';
import { full, ones, scalar, Tensor, tensor, zeros } from '../../src/index.ts';
import { roundF16 } from '../reference.ts';

describe('tensor', () => {
  it('takes nested arrays', async () => {
    const x = tensor([
      [[1], [2]],
      [[3], [4]],
    ]);
    expect([x.shape, x.dtype, x.rank, x.size, x.nbytes]).toEqual([[2, 2, 1], 'f32', 3, 4, 16]);
    expect(await x.tolist()).toEqual([
      [[1], [2]],
      [[3], [4]],
    ]);
    expect(await tensor(5).item()).toBe(5);
    expect(await tensor([]).data()).toEqual(new Float32Array(0));
    expect(tensor([[], []]).shape).toEqual([2, 0]);
    expect(await tensor([true, 2]).data()).toEqual(Float32Array.of(1, 2));
    expect(await tensor([[true, false]]).tolist()).toEqual([[true, false]]);
  });
  it('takes typed arrays, with a shape or flat', async () => {
    expect(tensor(new Int32Array(6), [2, 3]).dtype).toBe('i32');
    expect(tensor(new Uint32Array(2)).dtype).toBe('u32');
    expect(tensor(BigInt64Array.of(3n, -2n)).dtype).toBe('i32');
    expect(await tensor(BigUint64Array.of(3n)).data()).toEqual(Int32Array.of(3));
    expect(await tensor(Float64Array.of(0.1), { dtype: 'f32' }).data()).toEqual(Float32Array.of(0.1));
    expect(tensor(new Float32Array(3)).shape).toEqual([3]);
    expect(await tensor(Float32Array.of(1.5, -2), { dtype: 'i32' }).data()).toEqual(Int32Array.of(1, -2));
    expect(await tensor(Uint8Array.of(0, 3), { dtype: 'bool' }).data()).toEqual(Uint8Array.of(0, 1));
    expect(await tensor(Uint8Array.of(0, 3), { dtype: 'u32' }).data()).toEqual(Uint32Array.of(0, 3));
    expect(await tensor(BigInt64Array.of(3n, -2n), [1, 2]).tolist()).toEqual([[3, -2]]);
  });
  it('refuses integers that its type does not hold, which would wrap around', async () => {
    const edges = [-(2 ** 31), 2 ** 31 - 1];
    expect([...(await tensor(edges, { dtype: 'i32' }).data())]).toEqual(edges);
    expect([...(await tensor([0, 2 ** 32 - 1, -0.5], { dtype: 'u32' }).data())]).toEqual([0, 2 ** 32 - 1, 0]);
    expect([...(await tensor(BigInt64Array.of(2n ** 31n), { dtype: 'u32' }).data())]).toEqual([2 ** 31]);
    const wrong = [
      ...[() => tensor([2 ** 31], { dtype: 'i32' }), () => tensor([-1], { dtype: 'u32' })],
      ...[() => tensor(Uint32Array.of(2 ** 31), { dtype: 'i32' }), () => tensor([[Number.NaN]], { dtype: 'i32' })],
      ...[() => scalar(2 ** 31, 'i32'), () => full([2], -1, 'u32'), () => ones([1]).to('u32').pad([1, 1], -1)],
    ];
    for (const make of wrong) expect(make).toThrow(/got (NaN|-?\d+), want what [iu]32 holds, -?\d+ to \d+/);
  });
  it('copies what it is given', async () => {
    const values = Float32Array.of(1, 2);
    const x = tensor(values);
    values[0] = 9;
    expect(await x.data()).toEqual(Float32Array.of(1, 2));
  });
  it('of every type comes back as it was', async () => {
    for (const n of [1, 2, 3, 4, 5, 63]) {
      const values = Float32Array.from({ length: n }, (_, i) => i - 2.3);
      expect(await tensor(values).data()).toEqual(values);
      expect(await tensor(values, { dtype: 'f16' }).data()).toEqual(values.map(roundF16));
      expect(await tensor(values, { dtype: 'i32' }).data()).toEqual(Int32Array.from(values));
    }
  });
  it('of f16 keeps every half', async () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const value = (h: number) => {
      const [sign, exponent, fraction] = [h >> 15 ? -1 : 1, (h >> 10) & 31, h & 1023];
      return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
    };
    const finite = Float32Array.from(
      halves.filter((h) => ((h >> 10) & 31) !== 31),
      value,
    );
    expect(await tensor(finite, { dtype: 'f16' }).data()).toEqual(finite);
  });
});

describe('full, zeros, ones, scalar', () => {
  it.each(['zeros', 'ones'] as const)('%s come to be on the device, once its limits were looked at', async (name) => {
    const make = { zeros, ones }[name];
    const onHost = () => process.memoryUsage().arrayBuffers;
    const before = onHost();
    const huge = make([2 ** 20, 2 ** 13]);
    await expect(huge.data()).rejects.toThrow("[gpu] a buffer of 34359738368 bytes: the device's largest is");
    expect(onHost()).toBeLessThan(before + 2 ** 22);
    const n = 2 ** 18 + 5;
    (await full([n], 3).contiguous().realize()).dispose(); // a buffer that is not empty
    expect(await make([n]).data()).toEqual(new Float32Array(n).fill(name === 'ones' ? 1 : 0));
  });
  it('have one value', async () => {
    expect(await full([2, 2], 7).tolist()).toEqual([
      [7, 7],
      [7, 7],
    ]);
    expect(await full([3], 1, 'bool').tolist()).toEqual([true, true, true]);
    expect(await full([2], 4294967295, 'u32').data()).toEqual(Uint32Array.of(4294967295, 4294967295));
    expect(await full([0], 1).data()).toEqual(new Float32Array(0));
    expect(await full([1], 3).data()).toEqual(Float32Array.of(3));
    expect(await full([], 3).item()).toBe(3);
    expect(await zeros([2, 1]).tolist()).toEqual([[0], [0]]);
    expect(await ones([2], { dtype: 'i32' }).data()).toEqual(Int32Array.of(1, 1));
  });
  it('of one value are as good as any tensor', async () => {
    expect(await scalar(3, 'i32').data()).toEqual(Int32Array.of(3));
    expect(await scalar(3, 'u32').data()).toEqual(Uint32Array.of(3));
    expect(await scalar(1, 'bool').tolist()).toBe(true);
    expect(await scalar(2).reshape([1, 1]).tolist()).toEqual([[2]]);
    expect(
      await full([2, 3], 2)
        .matmul(full([3, 1], 5))
        .tolist(),
    ).toEqual([[30], [30]]);
    expect(await full([4], 2).softmax(0).data()).toEqual(Float32Array.of(0.25, 0.25, 0.25, 0.25));
    expect(await full([2, 3], 2).sum().item()).toBe(12);
    expect(await (await full([2], 2).realize()).data()).toEqual(Float32Array.of(2, 2));
    expect(
      await full([2], 0, 'i32')
        .embedding(tensor([[1, 2]]))
        .tolist(),
    ).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });
});

it('JSON is told that it has no tensors', () => {
  const want = '[tensor] toJSON: got data f32 [2], want its values: JSON.stringify(await x.tolist())';
  expect(() => JSON.stringify({ x: tensor([1, 2]) })).toThrow(want);
});

it('a console shows one line of a tensor', async () => {
  const x = tensor([[1, 2.5]]);
  expect(inspect(x)).toBe('Tensor f32 [1, 2] on the host: 1, 2.5');
  expect(inspect([x.transpose(0, 1)])).toBe('[ Tensor f32 [2, 1] on the host ]');
  expect(inspect(scalar(3, 'i32'))).toBe('Tensor i32 [] on the host: 3');
  expect(inspect(zeros([17]))).toBe('Tensor f32 [17] on the host');
  expect(inspect(x.add(1).reshape([2]))).toBe('Tensor f32 [2] of add, not computed yet');
  expect(inspect(await x.realize())).toBe('Tensor f32 [1, 2] on the device');
  x.dispose();
  expect(inspect(x)).toBe('Tensor f32 [1, 2] disposed');
});

describe('methods', () => {
  it('are the ops of tensors, not what takes lists or makes tensors', () => {
    const has = (name: string) => name in Tensor.prototype;
    expect(
      ['add', 'where', 'softmax', 'pad', 'overwrite', 'reshape', 'zeros_like'].filter((name) => !has(name)),
    ).toEqual([]);
    const functions = ['concat', 'cat', 'stack', 'arange', 'tensor', 'full', 'zeros', 'ones', 'scalar'];
    expect(functions.filter((name) => !(name in tessera))).toEqual([]);
    const internal = ['unslice', 'from_bits', 'FLOAT_FORMATS', 'MASKED', 'matmulOfHeads'];
    expect([...functions, ...internal].filter(has)).toEqual([]);
    expect(internal.filter((name) => name in tessera)).toEqual([]);
  });
});
