// Our side: each kernel as a user would write it, recorded by compile().
import {
  compile,
  conv2d,
  type Device,
  embedding,
  full,
  run,
  scaled_dot_product_attention,
  setDevice,
  type Tensor,
  tensor,
} from '../src/index.ts';
import { widen } from '../src/nn/kv-cache.ts';
import { type Case, isModel } from './cases.ts';
import { checkpoint } from './checkpoint.ts';
import { values } from './data.ts';
import type { Engine, Work } from './engine.ts';

const size = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);

type Fn = (...x: Tensor[]) => Tensor;

const KERNELS: Record<string, Fn> = {
  gemm: (a, b) => a!.matmul(b!),
  gemv: (a, b) => a!.matmul(b!),
  linear: (x, w, b) => x!.matmul(w!.transpose(0, 1)).add(b!),
  conv3x3: (x, w) => conv2d(x!, w!, undefined, { padding: 1 }),
  conv1x1: (x, w) => conv2d(x!, w!),
  attention: (q, k, v) => scaled_dot_product_attention(q!, k!, v!),
  softmax: (x) => x!.softmax(-1),
  layer_norm: (x, w, b) => x!.layer_norm(w!, b!, 1e-5),
  group_norm_silu: (x, w, b) => x!.group_norm(32, w!, b!).silu(),
  rms_norm: (x, w) => x!.rms_norm(w!, 1e-5),
  chain: (x, a, b, c) => x!.mul(a!).add(b!).gelu().mul(c!),
  sum_last: (x) => x!.sum(-1),
  sum_all: (x) => x!.sum(),
  transpose: (x) => x!.transpose(0, 1).contiguous(),
  heads: (x) => x!.transpose(0, 1).contiguous(),
  embedding: (table, ids) => embedding(ids!, table!),
};

export async function open(adapter: string): Promise<Engine & { device: Device }> {
  const device = await setDevice({ adapter });
  return { device, adapter: device.adapter.name, prepare: (c, sets) => prepare(c, sets, device) };
}

/** Our function of a case: of a model, whose weights are loaded for it. */
async function functionOf(c: Case, device: Device): Promise<{ fn: (...x: Tensor[]) => Tensor[]; dispose(): void }> {
  if (!isModel(c)) return { fn: (...x) => [KERNELS[c.kernel]!(...x)], dispose() {} };
  const model = await c.of.from_pretrained(checkpoint(c.config, c.weights), { device });
  return { fn: (...x) => c.forward(model, ...x), dispose: () => model.dispose() };
}

async function prepare(c: Case, sets: number, device: Device): Promise<Work> {
  const { fn, dispose } = await functionOf(c, device);
  const takes = isModel(c) ? c.takes : c.inputs.map(({ shape }) => shape);
  const input = (shape: readonly number[], i: number, set: number) => {
    if (!c.inputs[i]) return full(shape, 0).contiguous();
    const x = tensor(values(c, i, set), c.inputs[i].shape);
    return size(shape) === x.size ? x : widen(x, 2, shape[2]!);
  };
  const isShared = (i: number) => c.inputs[i]?.shared ?? true;
  const shared = takes.map((shape, i) => (isShared(i) ? input(shape, i, 0) : undefined));
  const own = Array.from({ length: sets }, (_, set) =>
    takes.map((shape, i) => (shared[i] ? undefined : input(shape, i, set))),
  );
  const all = () => [...shared, ...own.flat()].filter((t) => t !== undefined);
  await run(all());
  const compiled = compile(fn);
  const call = async (set: number) => {
    const [y, ...kept] = await compiled(...takes.map((_, i) => shared[i] ?? own[set]![i]!));
    if (kept.length > 0) shared.splice(-kept.length, kept.length, ...kept);
    return y!;
  };
  return {
    call: async (set) => (await call(set)).dispose(),
    wait: () => device.idle(),
    async result() {
      using y = await call(0);
      return (await y.data()) as Float32Array;
    },
    dispose() {
      for (const t of all()) t.dispose();
      dispose();
    },
  };
}
