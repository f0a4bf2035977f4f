import { describe, expect, it } from 'vitest';
import { trace } from '../../src/exec/graph.ts';
import { arange, grad, ones, type Tensor, tensor } from '../../src/index.ts';
import { op } from '../../src/tensor/op.ts';
import { randomNd, upload } from '../ops/harness.ts';

const x = () => upload(randomNd([3, 4], 1));
const w = () => upload(randomNd([4, 4], 2));

describe('grad', () => {
  it('adds nothing for what is not wanted', () => {
    const names = (t: Tensor) => trace([t]).nodes.map((n) => n.op!.name);
    const [frozen, trained, input] = [w(), w(), x()];
    const loss = input.matmul(frozen).tanh().matmul(trained).sum();
    const [d] = grad(loss, [trained]);
    expect(names(d!).filter((n) => n === 'matmul').length).toBe(2); // forward to `trained`, and its own
    const [a, b] = grad(loss, [frozen, trained]);
    expect(trace([a!, b!]).nodes.filter((n) => n.op!.name === 'matmul').length).toBe(4);
  });
  it('is zero where the loss does not depend on it', async () => {
    const [a, b] = [x(), w()];
    const [da, db] = grad(a.sum(), [a, b]);
    expect(da!.shape).toEqual([3, 4]);
    expect(db!.shape).toEqual([4, 4]);
    expect((await db!.data()).every((v) => v === 0)).toBe(true);
  });
  it('of an intermediate, and of the loss itself', async () => {
    const h = x().mul(2);
    const loss = h.square().sum();
    const [dh, dl] = grad(loss, [h, loss]);
    expect(await dl!.item()).toBe(1);
    expect(await dh!.sub(h.mul(2)).abs().max().item()).toBe(0);
  });
  it('adds up over all uses', async () => {
    const a = tensor([1, 2, 3]);
    const loss = a.mul(a).add(a).mul(a.sum()).sum();
    // (a^2 + a) s: (2 a + 1) s + sum(a^2 + a)
    expect(await grad(loss, [a])[0]!.data()).toEqual(Float32Array.of(38, 50, 62));
  });
  it('can be taken again', async () => {
    const a = tensor([0.5, -1]);
    const [first] = grad(a.tanh().sum(), [a]);
    const [second] = grad(first!.sum(), [a]);
    const want = [0.5, -1].map((v) => -2 * Math.tanh(v) * (1 - Math.tanh(v) ** 2));
    for (const [i, v] of (await second!.data()).entries()) expect(v).toBeCloseTo(want[i]!, 6);
  });
  it('sums over what was broadcast', async () => {
    const bias = ones([1, 4]);
    const [d] = grad(x().add(bias).sum(), [bias]);
    expect(await d!.tolist()).toEqual([[3, 3, 3, 3]]);
  });
  it('does not pass comparisons, indices and integers', async () => {
    const a = tensor([1, -2, 3]);
    const mask = a.gt(0);
    expect(await grad(mask.where(a, 0).sum(), [a])[0]!.data()).toEqual(Float32Array.of(1, 0, 1));
    expect(await grad(a.mul(mask).sum(), [a])[0]!.data()).toEqual(Float32Array.of(1, 0, 1));
    expect(await grad(a.mul(a.to('i32')).sum(), [a])[0]!.data()).toEqual(Float32Array.of(1, -2, 3));
    expect(await grad(a.gather(0, a.argmax(0, true)).sum(), [a])[0]!.data()).toEqual(Float32Array.of(0, 0, 1));
    expect(await grad(a.mul(arange(3)).sum(), [a])[0]!.data()).toEqual(Float32Array.of(0, 1, 2));
  });
});

describe('grad says what is wrong', () => {
  const wrong = (use: () => unknown) => expect(use);
  it('with a loss of several elements', () => {
    const a = x();
    wrong(() => grad(a.mul(2), [a])).toThrowErrorMatchingInlineSnapshot(
      `[RangeError: [grad] loss: got shape [3, 4], want one element]`,
    );
  });
  it('with an op that has no gradient', () => {
    const a = x();
    const state = tensor(new Float32Array(12), [3, 4]);
    wrong(() => grad(state.overwrite(a, 0, 0).sum(), [a])).toThrowErrorMatchingInlineSnapshot(
      `[Error: [overwrite] is not differentiable in input 1]`,
    );
  });
  const faulty = (saves: (number | 'y')[], backward: NonNullable<Parameters<typeof op>[0]['backward']>) =>
    op({ name: 'faulty', saves, backward }, ([t]) => ({ shape: t!.shape, dtype: 'f32' }));
  it('with a backward that reads what is not saved', () => {
    const a = x();
    wrong(() => grad(faulty([], [(dy, { x: t }) => dy.mul(t[0]!)])([a]).sum(), [a])).toThrowErrorMatchingInlineSnapshot(
      `[Error: [faulty] backward reads x[0], which is not in its saves: []]`,
    );
    wrong(() => grad(faulty([0], [(dy, { y }) => dy.mul(y)])([a]).sum(), [a])).toThrowErrorMatchingInlineSnapshot(
      `[Error: [faulty] backward reads y, which is not in its saves: [0]]`,
    );
  });
  it('with a backward of another shape', () => {
    const a = x();
    wrong(() => grad(faulty([], [(dy) => dy.sum(0)])([a]).sum(), [a])).toThrowErrorMatchingInlineSnapshot(
      `[Error: [faulty] backward of input 0: got [4], want [3, 4]]`,
    );
  });
});
