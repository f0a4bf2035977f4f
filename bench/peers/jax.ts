// jax-js as its users write it: jit() of a function of arrays, which own what they are given (`ref` keeps one).
import * as jax from '@jax-js/jax';
import { type Case, isModel } from '../cases.ts';
import { weight } from '../checkpoint.ts';
import { permute, type Values, values } from '../data.ts';
import type { Engine, Work } from '../engine.ts';
import { MODELS } from './jax-models.ts';
import { type Array_, groupNorm, layerNorm, rmsNorm } from './jax-parts.ts';
import { provideNavigator } from './navigator.ts';

type Fn = (...x: Array_[]) => Array_;
const { jit, lax, nn, numpy: np, blockUntilReady } = jax;

const KERNELS: Record<string, Fn> = {
  gemm: (a, b) => np.matmul(a, b),
  gemv: (a, b) => np.matmul(a, b),
  linear: (x, w, b) => np.dot(x, w.transpose()).add(b),
  conv3x3: (x, w) => lax.conv(x, w, [1, 1], 'SAME'),
  conv1x1: (x, w) => lax.conv(x, w, [1, 1], 'SAME'),
  attention: (q, k, v) => nn.dotProductAttention(q, k, v), // [B, L, H, D]
  softmax: (x) => nn.softmax(x, -1),
  layer_norm: layerNorm,
  group_norm_silu: (x, w, b) => nn.silu(groupNorm(x, w, b)),
  rms_norm: rmsNorm,
  chain: (x, a, b, c) => nn.gelu(x.mul(a).add(b), { approximate: false }).mul(c),
  sum_last: (x) => np.sum(x, -1),
  sum_all: (x) => np.sum(x),
  transpose: (x) => np.transpose(x),
  heads: (x) => np.transpose(x, [1, 0, 2]),
  embedding: (table, ids) => table.slice(ids),
};

const HEADS_LAST = [0, 2, 1, 3]; // [B, H, L, D] to [B, L, H, D], and back
/** Inputs that jax-js wants in another order of dimensions. */
const isReordered = ({ kernel }: Case, i: number) => kernel === 'attention' || (kernel === 'llama_block' && i > 0);

const array = (x: Values, shape: number[]) =>
  np.array(x, { shape, dtype: x instanceof Int32Array ? np.int32 : np.float32 });

/** jax-js calls these on iterators, which Node 20 lacks (they are of ES2025). */
function polyfillIterators(): void {
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
  prototype.map ??= function* <T>(this: Iterable<T>, f: (x: T) => unknown) {
    for (const x of this) yield f(x);
  };
  prototype.filter ??= function* <T>(this: Iterable<T>, f: (x: T) => boolean) {
    for (const x of this) if (f(x)) yield x;
  };
}

export async function open(adapter: string): Promise<Engine> {
  polyfillIterators();
  const name = await provideNavigator(adapter);
  await jax.init('webgpu');
  jax.defaultDevice('webgpu');
  return { adapter: name, prepare };
}

/** The function of a case: of a model a recorded function of its weights, too. */
function functionOf(c: Case): { run: Fn; dispose(): void } {
  if (!isModel(c)) return { run: jit(KERNELS[c.kernel]!), dispose() {} };
  const w = Object.fromEntries([...c.weights].map(([n, shape]) => [n, array(weight(n, shape), [...shape])]));
  const forward = jit(MODELS[c.kernel]!(c));
  return { run: (...x) => forward(jax.tree.ref(w), ...x), dispose: () => jax.tree.dispose(w) };
}

async function prepare(c: Case, sets: number): Promise<Work> {
  const { run, dispose } = functionOf(c);
  const input = (i: number, set: number) => {
    const { shape } = c.inputs[i]!;
    const x = values(c, i, set);
    if (!isReordered(c, i)) return array(x, shape);
    const order = HEADS_LAST.map((d) => shape[d]!);
    return array(permute(x, shape, HEADS_LAST), order);
  };
  const shared = c.inputs.map(({ shared: same }, i) => (same ? input(i, 0) : undefined));
  const inputs = Array.from({ length: sets }, (_, set) => c.inputs.map((_, i) => shared[i]?.ref ?? input(i, set)));
  await blockUntilReady(inputs.flat());
  let last: Array_[] = [];
  const release = () => {
    for (const y of last.splice(0)) y.dispose();
  };
  const call = async (set: number) => {
    const results = [run(...inputs[set]!.map((x) => x.ref))].flat();
    await results[0].ref.gpuBuffer(); // sends it to the device and does not wait
    release();
    last = results;
  };
  return {
    call,
    wait: () => blockUntilReady(last),
    async result() {
      await call(0);
      const y = (await last[0].ref.data()) as Float32Array;
      const [B, H, L, D] = c.output as [number, number, number, number];
      return c.kernel === 'attention' ? permute(y, [B, L, H, D], HEADS_LAST) : y;
    },
    dispose() {
      release();
      for (const x of [...inputs.flat(), ...shared.filter((s) => s)]) x.dispose();
      dispose();
    },
  };
}
