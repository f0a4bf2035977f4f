// Our side: each kernel as a user would write it, recorded by compile().
import {
  CLIPModel,
  compile,
  conv2d,
  type Device,
  embedding,
  run,
  scaled_dot_product_attention,
  setDevice,
  type Tensor,
  tensor,
} from '../src/index.ts';
import type { Case } from './cases.ts';
import { checkpoint } from './clip.ts';
import { values } from './data.ts';
import type { Engine, Work } from './engine.ts';

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
  let clip: ReturnType<typeof CLIPModel.from_pretrained> | undefined;
  const functionOf = async (kernel: string): Promise<Fn> => {
    if (!kernel.startsWith('clip')) return KERNELS[kernel]!;
    const model = await (clip ??= CLIPModel.from_pretrained(checkpoint(), { device }));
    if (kernel === 'clip_text') return (input_ids) => model.get_text_features({ input_ids: input_ids! });
    return (pixel_values) => model.get_image_features({ pixel_values: pixel_values! });
  };
  return {
    device,
    adapter: device.adapter.name,
    prepare: async (c, sets) => prepare(c, sets, await functionOf(c.kernel), device),
  };
}

async function prepare(c: Case, sets: number, fn: Fn, device: Device): Promise<Work> {
  const shared = c.inputs.map((input, i) => (input.shared ? tensor(values(c, i, 0), input.shape) : undefined));
  const inputs = Array.from({ length: sets }, (_, set) =>
    c.inputs.map(({ shape }, i) => shared[i] ?? tensor(values(c, i, set), shape)),
  );
  await run(inputs.flat());
  const compiled = compile(fn);
  return {
    call: async (set) => (await compiled(...inputs[set]!)).dispose(),
    wait: () => device.idle(),
    async result() {
      using y = await compiled(...inputs[0]!);
      return (await y.data()) as Float32Array;
    },
    dispose() {
      for (const t of inputs.flat()) t.dispose();
    },
  };
}
