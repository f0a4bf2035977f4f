// What happens around a run: disposal and trimming while it is prepared, writes in place, arguments of every kind.
import { expect, it } from 'vitest';
import { compile, defaultDevice, grad, run, scalar, setDevice, type Tensor, tensor, trim } from '../../src/index.ts';

const live = async () => {
  const device = await defaultDevice();
  await trim(device);
  return device.pool.stats.live;
};

it('tells when a leaf is disposed while the plan is made', async () => {
  const w = await tensor([[1, 2, 3]]).realize();
  const x = await tensor([[1], [2], [3]]).realize();
  const y = w.log_softmax().sub(0.125).matmul(x).data();
  x.dispose();
  await expect(y).rejects.toThrow('was disposed and is used again');
});

it('finishes a read that was asked for before the tensor was disposed', async () => {
  const before = await live();
  const rows = tensor([
    [1, 2],
    [3, 4],
  ]);
  const x = await rows.add(0).realize();
  const reads = [x.data(), x.transpose(0, 1).data(), x.slice(0, 1, 2).data()];
  x.dispose();
  const [whole, turned, row] = await Promise.all(reads);
  expect([whole, turned, row]).toEqual(
    [
      [1, 2, 3, 4],
      [1, 3, 2, 4],
      [3, 4],
    ].map((v) => Float32Array.from(v)),
  );
  await expect(x.data()).rejects.toThrow('was disposed and is used again');

  const y = rows.mul(2);
  const computing = y.realize().then(() => y.dispose());
  const other = rows.exp();
  const between = other.data();
  expect(await y.data()).toEqual(Float32Array.of(2, 4, 6, 8));
  await Promise.all([computing, between]);
  await expect(y.data()).rejects.toThrow('was disposed and is used again');
  await rows.realize();
  for (const t of [rows, other]) t.dispose();
  expect(await live()).toBeLessThanOrEqual(before); // the collector may have come by
});

it('trims between runs, not into one', async () => {
  const x = tensor([1, 2, 3]);
  const y = x.sin().sum().cos().data();
  await trim(await defaultDevice());
  expect((await y)[0]).toBeCloseTo(Math.cos(Math.sin(1) + Math.sin(2) + Math.sin(3)), 6);
  await Promise.all([trim(await defaultDevice()), trim(await defaultDevice()), x.exp().data()]);
});

it('gives back what it copies to read a view', async () => {
  const x = await tensor([
    [1, 2],
    [3, 4],
  ]).realize();
  await x.transpose(0, 1).data();
  const before = await live();
  for (let i = 0; i < 5; i++) await x.transpose(0, 1).data();
  expect(await live()).toBe(before);
});

it('refuses to read what was disposed, by every way', async () => {
  const x = await tensor([1, 2]).realize();
  x.dispose();
  await expect(x.data()).rejects.toThrow('disposed');
  await expect(x.realize()).rejects.toThrow('disposed');
  await expect(x.add(1).data()).rejects.toThrow('disposed');
});

it('overwrites whole tensors within their bounds', async () => {
  const state = await tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]).realize();
  expect(() => state.transpose(0, 1).overwrite(tensor([[9, 9]]), 0, 0)).toThrow('[overwrite] state: got a view');
  expect(() => state.overwrite(tensor([[9], [9]]), 1, tensor([1]))).toThrow(
    '[overwrite] start: got a tensor of values',
  );
  const put = compile((s: Tensor, v: Tensor, at: Tensor) => s.overwrite(v, 1, at));
  const next = await put(state, tensor([[9], [8]]), 2);
  expect(await next.tolist()).toEqual([
    [1, 2, 9],
    [4, 5, 8],
  ]);
  await expect(put(next, tensor([[7], [7]]), 3)).rejects.toThrow('start: got 3, want 0..2');
  await expect(put(next, tensor([[7], [7]]), -1)).rejects.toThrow('start: got -1, want 0..2');
  expect(await next.tolist()).toEqual([
    [1, 2, 9],
    [4, 5, 8],
  ]);
});

it('compiles for views, numbers as tensors, and pending arguments', async () => {
  const f = compile((x: Tensor) => x.mul(2));
  const x = tensor([
    [1, 2],
    [3, 4],
  ]);
  expect(await (await f(x.reshape([4]))).tolist()).toEqual([2, 4, 6, 8]);
  expect(await (await f(x.transpose(0, 1))).tolist()).toEqual([
    [2, 6],
    [4, 8],
  ]);
  expect(await (await f(x.add(1))).tolist()).toEqual([
    [4, 6],
    [8, 10],
  ]);
  expect(await (await f(scalar(2))).item()).toBe(4);
});

it('compiles functions that return tensors only, and calls them with all arguments', async () => {
  const want = 'want a tensor, a list of tensors, or an object of them';
  const returns = (value: unknown) => compile((_: Tensor) => value as Tensor)(1 as unknown as Tensor);
  await expect(returns([[tensor(1)]])).rejects.toThrow(`[compile] result: got an array [[a Tensor]], ${want}`);
  await expect(returns(undefined)).rejects.toThrow(`[compile] result: got nothing, ${want}`);
  await expect(returns(3)).rejects.toThrow(`[compile] result: got 3, ${want}`);
  await expect(returns(Promise.resolve(tensor(1)))).rejects.toThrow(`[compile] result: got a Promise, ${want}`);
  const add = compile((a: Tensor, b: Tensor) => a.add(b)) as (...args: unknown[]) => Promise<Tensor>;
  await expect(add(tensor(1))).rejects.toThrow('[compile] argument 1: got nothing, want a tensor or a number');
  await expect(add([1], 2)).rejects.toThrow('[compile] argument 0: got an array [1], want a tensor or a number');
});

it('keeps its default device where another cannot be had', async () => {
  const device = await defaultDevice();
  const sum = tensor([1, 2]).sum().item();
  await expect(setDevice({ adapter: 'no such adapter' })).rejects.toThrow("want 'no such adapter'");
  expect(await sum).toBe(3);
  expect(await defaultDevice()).toBe(device);
  const want = "want a Device, a GPUDevice or { adapter: 'software' }";
  await expect(setDevice('software' as never)).rejects.toThrow(`[setDevice] got 'software', ${want}`);
  await expect(setDevice(undefined as never)).rejects.toThrow(`[setDevice] got nothing, ${want}`);
  expect(await defaultDevice()).toBe(device);
});

it('computes once what needs no argument, and keeps working when it is computed elsewhere', async () => {
  const w = tensor([1, 2]).mul(3);
  const f = compile((x: Tensor) => x.add(w));
  expect(await (await f(tensor([1, 1]))).tolist()).toEqual([4, 7]);
  await w.realize();
  await trim(await defaultDevice());
  expect(await (await f(tensor([2, 2]))).tolist()).toEqual([5, 8]);
});

it('leaks nothing when a result is an argument', async () => {
  const f = compile((x: Tensor) => ({ x, y: x.add(1) }));
  const x = await tensor([1, 2]).realize();
  (await f(x)).y.dispose();
  const before = await live();
  for (let i = 0; i < 4; i++) {
    const r = await f(x);
    expect(await r.x.tolist()).toEqual([1, 2]);
    r.y.dispose();
  }
  expect(await live()).toBeLessThanOrEqual(before); // the collector may have come by
});

it('says that a computed loss has no gradient any more', async () => {
  const w = tensor([1, 2]);
  const loss = w.square().sum();
  await loss.item();
  expect(() => grad(loss, [w])).toThrow('was computed and has forgotten its parents');
  const h = w.square();
  await run([h]);
  expect(() => grad(h.sum(), [w])).toThrow('call grad before data() or realize()');
  expect(await grad(h.mul(2).sum(), [h])[0]!.tolist()).toEqual([2, 2]);
});
