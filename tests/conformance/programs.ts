// What several ops make together in the conformance table: fused chains and epilogues, gradients, compiled functions.
import { arange, compile, grad, overwrite, type Tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';
import { below, EXACT, type Input, randomNd, upload } from '../samples.ts';
import { type Case, type Output, type Spec, shapes, sizes, table } from './case.ts';

const CHAIN = { all: 2 ** -21, from: 'a few ops of an ulp each, of values below 8' };
const PRODUCT = { all: 2 ** -18, from: 'docs/summation.md: 2e-6 of mean |y| at most, at any K' };
const GRADIENT = { all: 1e-4, from: 'central differences in float64 (1e-8), and several ops in f32 that cancel' };

const add = ref.map((a, b) => a! + b!);
const gelu = ref.map((x) => ref.gelu(x!));
const sign: Input = { shape: [5, 13], dtype: 'i32', fill: (u) => (u < 0.5 ? -1 : 1) };

const FUSED: Record<string, Spec> = {
  chain: {
    op: (x, a, b) => x.mul(a).add(b).tanh().mul(0.75).add(x.square()).div(1.5).maximum(-0.25),
    want: ref.map((x, a, b) => Math.max((0.75 * Math.tanh(x! * a! + b!) + x! * x!) / 1.5, -0.25)),
    tolerance: { ...CHAIN, halves: 6 },
    inputs: shapes('5x13 13 5x1', '37x67 37x67 37x67'),
  },
  'chain of types': {
    op: (x, n) => x.gt(n).where(n.mul(2).to('f32').add(x), arange(13).mul(3)).to('f16'),
    want: (x, n) =>
      ref.map((a, b, i) => (a! > b! ? 2 * b! + a! : 3 * i!))(
        x,
        n,
        ref.nd([13], ([i]) => i!),
      ),
    tolerance: CHAIN,
    inputs: [[[5, 13], sign]],
    layouts: ['plain', 'sliced'],
  },
  'matmul + bias + gelu': {
    op: (x, w, b) => x.matmul(w.transpose(0, 1)).add(b).gelu(),
    want: (x, w, b) => gelu(ref.linear(x, w, b)),
    tolerance: { ...PRODUCT, halves: 2 },
    inputs: shapes('33x136 48x136 48'),
    more: shapes('3x4 5x4 5', '9x13 7x13 7'),
  },
  'matmul + residual, to f16': {
    op: (x, w, r) => r.add(x.matmul(w)).to('f16'),
    want: (x, w, r) => add(r, ref.matmul(x, w)),
    tolerance: { ...PRODUCT, halves: 1 },
    inputs: shapes('5x40 40x12 5x12'),
    more: shapes('3x4 4x8 3x8', '17x40 40x13 17x13'),
    layouts: ['plain'],
  },
  'layer_norm + gelu': {
    op: (x, w, b) => x.layer_norm(w, b).gelu('tanh'),
    want: (x, w, b) => ref.map((v) => ref.geluTanh(v!))(ref.layer_norm(x, w, b)),
    tolerance: { all: 2 ** -19, halves: 1, from: 'a norm and an activation' },
    inputs: shapes('5x16 16 16', '9x13 13 13'),
    layouts: ['plain'],
  },
};

/** The float inputs, of which gradients are wanted, and what the function needs besides. */
type Differentiable = Pick<Spec, 'op' | 'want'> & { inputs: readonly number[][]; index?: ref.Nd };
const GRADIENTS: Record<string, Differentiable> = {
  'matmul, gelu': {
    op: (x, w) => x.matmul(w).gelu(),
    want: (x, w) => gelu(ref.matmul(x, w)),
    inputs: sizes('2x3x4 4x5'),
  },
  layer_norm: {
    op: (x, w, b) => x.layer_norm(w, b),
    want: (x, w, b) => ref.layer_norm(x, w, b),
    inputs: sizes('3x5 5 5'),
  },
  softmax: { op: (x) => x.softmax(), want: (x) => ref.softmax(x), inputs: sizes('3x5') },
  'attention, causal': {
    op: (q, k, v) => q.scaled_dot_product_attention(k, v, { is_causal: true }),
    want: (q, k, v) => ref.attention(q, k, v, { causal: true }),
    inputs: sizes('2x3x4 2x3x4 2x3x2'),
  },
  embedding: {
    op: (w, ids) => ids.embedding(w),
    want: (w, ids) => ref.embedding(w, ids),
    inputs: sizes('4x3'),
    index: randomNd([2, 3], 9, 'i32', below(4)),
  },
  'division, broadcast': {
    op: (a, b) => a.div(b).sigmoid(),
    want: ref.map((a, b) => ref.sigmoid(a! / b!)),
    inputs: sizes('3x5 5'),
  },
};

const MORE_GRADIENTS: Record<string, Differentiable> = {
  'conv2d of patches': {
    op: (x, w, b) => x.conv2d(w, b, { stride: 2 }),
    want: (x, w, b) => ref.conv2d(x, w, b, { stride: 2 }),
    inputs: sizes('1x2x4x5 3x2x2x2 3'),
  },
};

/** d sum(f(x) r) / d x for each input: on the device, and as central differences of the reference. */
function gradients(name: string, { op, want, inputs, index }: Differentiable): Case {
  const outputs = () => {
    const values = inputs.map((shape, k) => randomNd(shape, k + 1));
    const x = values.map((value) => upload(value));
    const y = index ? op(...x, upload(index, 'i32')) : op(...x);
    const r = randomNd(y.shape, 99);
    const loss = () => ref.dot(index ? want(...values, index) : want(...values), r);
    return grad(y.mul(upload(r)).sum(), x).map((got, k) => {
      return { name: `${name}, input ${k}`, got, want: ref.slopes(values[k]!, loss), tolerance: GRADIENT };
    });
  };
  return { group: 'gradient', name, outputs };
}

/** One recording, replayed with other numbers and tensors. */
async function replayed(): Promise<Output[]> {
  const step = compile((x: Tensor, w: Tensor, scale: Tensor) => x.matmul(w).mul(scale).tanh().add(scale));
  const w = randomNd([12, 20], 9);
  const outputs: Output[] = [];
  for (const [i, scale] of [0.5, -0.125, 0.75, 0.5].entries()) {
    const x = randomNd([5, 12], i + 1);
    const want = ref.map((v) => Math.tanh(v! * scale) + scale)(ref.matmul(x, w));
    outputs.push({ name: `call ${i}`, got: await step(upload(x), upload(w), scale), want, tolerance: PRODUCT });
  }
  return outputs;
}

/** Rows written in place, at a position that changes from call to call. */
async function written(): Promise<Output[]> {
  const write = compile((state: Tensor, row: Tensor, at: Tensor) => overwrite(state, row.mul(2), 0, at));
  const want = randomNd([6, 5], 1);
  let state = upload(want);
  for (const at of [4, 0, 3]) {
    const row = randomNd([1, 5], 10 + at);
    want.data.set(
      row.data.map((v) => 2 * v),
      5 * at,
    );
    state = await write(state, upload(row), at);
  }
  return [{ name: 'overwrite', got: state, want, tolerance: EXACT }];
}

export const programs = (isFull: boolean): Case[] => [
  ...table('fused', isFull, FUSED, 1),
  ...Object.entries({ ...GRADIENTS, ...(isFull && MORE_GRADIENTS) }).map(([name, spec]) => gradients(name, spec)),
  { group: 'compiled', name: 'replayed', outputs: replayed },
  { group: 'compiled', name: 'written', outputs: written },
];
