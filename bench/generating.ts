// What a side does for the suite `language`: a model at work through `generate`, as a user has it, and our own share of a step.
import { AutoModelForCausalLM, Device } from '../src/index.ts';
import type { Config } from '../src/io/pretrained.ts';
import { LlamaForCausalLM } from '../src/models/llama.ts';
import { capacityFor } from '../src/tasks/decoder.ts';
import { checkpoint } from './checkpoint.ts';
import { uniform } from './data.ts';
import { shapesOf } from './models.ts';

export const DTYPES = ['f32', 'f16', 'q8', 'q4'] as const;
export type DType = (typeof DTYPES)[number];

/** Tokens of the prompt, and of the answer. */
export const SIZES = { prompt: 64, answer: 17 };

/** SmolLM2-135M. */
const SMOL = {
  ...{ model_type: 'llama', hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, vocab_size: 49152 },
  ...{ num_attention_heads: 9, num_key_value_heads: 3, tie_word_embeddings: true, max_position_embeddings: 8192 },
};

/** Bytes on the device, and microseconds to the first token and for each that follows. */
export type Held = { weights: number; cache: number };
export type Times = { first_us: number; step_us: number };
export type Generating = Held & { round(answer?: number): Promise<Times>; dispose(): void };

/** Loads a model: of a folder, or with random weights of a config. */
export async function generating(
  device: Device,
  from: string | Config = SMOL,
  dtype: DType = 'f32',
  { prompt, answer } = SIZES,
): Promise<Generating> {
  const folder = typeof from === 'string' ? from : checkpoint(from, shapesOf(LlamaForCausalLM, from));
  const before = device.pool.stats.liveBytes;
  const model = await AutoModelForCausalLM.from_pretrained(folder, { device, dtype });
  const weights = device.pool.stats.liveBytes - before;
  const { vocab_size, num_hidden_layers, num_key_value_heads, head_dim } = model.sizes;
  const ids = [...uniform(prompt, 1, vocab_size / 2)].map((x) => Math.floor(x + vocab_size / 2));
  const round = async (max_new_tokens = answer) => {
    const start = performance.now();
    const times: number[] = [];
    const streamer = { put: () => times.push(performance.now() - start), end() {} };
    const options = { max_new_tokens, do_sample: false, eos_token_id: [], streamer };
    (await model.generate({ input_ids: [ids], ...options })).dispose();
    const [, first, ...rest] = times as [number, number, ...number[]]; // the prompt is put, too
    return { first_us: 1e3 * first, step_us: (1e3 * (rest.at(-1)! - first)) / rest.length };
  };
  const cache = 4 * 2 * num_hidden_layers * num_key_value_heads * head_dim * capacityFor(prompt + answer);
  return { weights, cache, round, dispose: () => model.dispose() };
}

const LAYERS = 32;
const TINY = {
  ...{ model_type: 'llama', hidden_size: 64, intermediate_size: 128, vocab_size: 256 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2 },
};
const OWN = { prompt: 1, answer: 200 };
const WARM = 10; // rounds until the runtime's compiler is done with it
const ROUNDS = 5;

/** Microseconds of processor time of a step that are ours, and its dispatches: of a layer, and of all else. */
export type Own = { layers: number; step_us: number[]; per_layer: number; rest: number };

/** Steps of 32 layers on a device like another whose calls do nothing, so that all of their time is our own. */
export async function ownShare(like: Device): Promise<Own> {
  const step = async (num_hidden_layers: number, rounds: number) => {
    const device = Device.from(idleDevice(like.gpu));
    const model = await generating(device, { ...TINY, num_hidden_layers }, 'f32', OWN);
    const times: number[] = [];
    const before = device.counters.dispatches;
    for (let i = 0; i < rounds; i++) {
      const start = process.cpuUsage();
      await model.round();
      const { user, system } = process.cpuUsage(start);
      times.push((user + system) / OWN.answer);
    }
    const dispatches = Math.floor((device.counters.dispatches - before) / rounds / OWN.answer); // a round makes a cache, too
    return { times, dispatches };
  };
  const [one, all] = [await step(1, 1), await step(LAYERS, WARM + ROUNDS)];
  const per_layer = (all.dispatches - one.dispatches) / (LAYERS - 1);
  return { layers: LAYERS, step_us: all.times.slice(WARM), per_layer, rest: one.dispatches - per_layer };
}

/** A device whose calls do nothing; what is read from it is zeros. */
export function idleDevice({ limits, features, adapterInfo }: GPUDevice): GPUDevice {
  const nothing = () => {};
  const done = async () => null;
  const pass = { setPipeline: nothing, setBindGroup: nothing, dispatchWorkgroups: nothing, end: nothing };
  const encoder = { beginComputePass: () => pass, copyBufferToBuffer: nothing, clearBuffer: nothing, finish: nothing };
  const getMappedRange = (_: number, bytes: number) => new ArrayBuffer(bytes);
  const buffer = { mapAsync: done, getMappedRange, unmap: nothing, destroy: nothing };
  const idle = {
    ...{ limits, features, adapterInfo, lost: new Promise(nothing), destroy: nothing },
    ...{ pushErrorScope: nothing, popErrorScope: done, addEventListener: nothing },
    createShaderModule: nothing,
    createComputePipelineAsync: async () => ({ getBindGroupLayout: nothing }),
    createBindGroup: () => ({}),
    createBuffer: ({ size }: GPUBufferDescriptor) => ({ ...buffer, size }),
    createCommandEncoder: () => encoder,
    queue: { writeBuffer: nothing, submit: nothing, onSubmittedWorkDone: done },
  };
  return idle as unknown as GPUDevice;
}
