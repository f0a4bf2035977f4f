// onnxruntime-node on its WebGPU provider, from the graphs that graphs/make.py wrote. Inputs and results stay on the
// device. It has a Dawn of its own, which finds the same Vulkan driver (driver.ts).
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';
import { type Case, isModel } from '../cases.ts';
import { isTable, weight } from '../checkpoint.ts';
import { permute, type Values, values } from '../data.ts';
import type { Engine, Work } from '../engine.ts';
import { deviation, difference, TOLERANCE } from '../harness.ts';
import type { Shapes } from '../models.ts';
import { nameOf } from './navigator.ts';

// biome-ignore lint/suspicious/noExplicitAny: a peer's tensors and sessions
type Any = any;

const path = (name: string) => fileURLToPath(new URL(`peers/graphs/${name}.onnx`, import.meta.url));

/** A session that fails where a node would run on the CPU; of CLIP's texts the place of the end is added up there. */
async function session(name: string, external: [string, Float32Array][] = [], onDevice = true): Promise<Any> {
  return ort.InferenceSession.create(await readFile(path(name)), {
    executionProviders: ['webgpu'],
    ...(onDevice ? { preferredOutputLocation: 'gpu-buffer' } : {}),
    externalData: external.map(([name, data]) => ({ path: name, data: new Uint8Array(data.buffer) })),
    intraOpNumThreads: 1, // its threads would spin while others are measured
    extra: { session: { disable_cpu_ep_fallback: name.startsWith('clip_text') ? '0' : '1' } },
  });
}

/** Weights as the graphs want them: linear layers as [in, out]. */
function weightsOf(shapes: Shapes): [string, Float32Array][] {
  return [...shapes].map(([name, shape]) => {
    const isLinear = shape.length === 2 && !isTable(name);
    return [name, isLinear ? permute(weight(name, shape), shape, [1, 0]) : weight(name, shape)];
  });
}

export async function open(adapter: string): Promise<Engine> {
  const { create } = await import('webgpu');
  const found = await nameOf(create([])); // the same loader and drivers as onnxruntime's own Dawn has
  if (found !== adapter) throw new Error(`onnxruntime would run on ${found}, not on ${adapter}`);
  const upload = { float32: await session('identity-float32'), int32: await session('identity-int32') };
  const download = await session('identity-float32', [], false);
  const device = {
    async send(x: Values, shape: number[]): Promise<Any> {
      const type = x instanceof Int32Array ? 'int32' : 'float32';
      return (await upload[type].run({ x0: new ort.Tensor(type, x, shape) })).y;
    },
    read: async (x: Any): Promise<Float32Array> => (await download.run({ x0: x })).y.data,
  };
  return { adapter, prepare: (c, sets) => prepare(c, sets, device) };
}

type Transfer = {
  send(x: Values, shape: number[]): Promise<Any>;
  read(x: Any): Promise<Float32Array>;
};

async function prepare(c: Case, sets: number, device: Transfer): Promise<Work> {
  const file = `${c.kernel}-${c.shape}`;
  const plain = await oneForm(c, sets, device, file, false);
  if (!existsSync(path(`${file}-fused`))) return plain;
  // as exported, or by operators of its own where those are right (on software adapters not all are) and faster
  const fused = await oneForm(c, sets, device, `${file}-fused`, true).catch(() => undefined);
  if (!fused) return plain;
  const [expected, y] = [await plain.result(), await fused.result()];
  const off = c.expected ? deviation(c, y) : difference(expected, y);
  const best = off < TOLERANCE && (await timeOf(fused)) < (await timeOf(plain)) ? fused : plain;
  (best === fused ? plain : fused).dispose();
  return best;
}

async function timeOf(work: Work): Promise<number> {
  const start = performance.now();
  await work.result();
  return performance.now() - start;
}

const SWAP = [0, 2, 1, 3]; // [B, H, L, D] to [B, L, H, D], and back

async function oneForm(c: Case, sets: number, device: Transfer, file: string, isFused: boolean): Promise<Work> {
  const fused = isFused && c.kernel === 'attention'; // its operator has the heads last
  const isConv = c.kernel.startsWith('conv');
  const fixed: [string, Float32Array][] = isConv
    ? [['x1', values(c, 1, 0) as Float32Array]]
    : isModel(c)
      ? weightsOf(c.weights)
      : [];
  const run = await session(file, fixed);
  const [B, H, L, D] = c.output as [number, number, number, number];
  const input = (i: number, set: number) => {
    const { shape } = c.inputs[i]!;
    const x = values(c, i, set);
    return fused ? device.send(permute(x, shape, SWAP), [B, L, H * D]) : device.send(x, shape);
  };
  const feeds: Record<string, Any>[] = [];
  for (let set = 0; set < sets; set++) {
    const feed: Record<string, Any> = {};
    for (const [i, { shared }] of c.inputs.entries()) {
      if (isConv && i === 1) continue;
      feed[`x${i}`] = shared && set > 0 ? feeds[0]![`x${i}`] : await input(i, set);
    }
    feeds.push(feed);
  }
  const one = await device.send(Float32Array.of(1), [1]);
  return {
    async call(set) {
      for (const y of Object.values<Any>(await run.run(feeds[set]!))) y.dispose();
    },
    wait: () => device.read(one),
    async result() {
      const results = await run.run(feeds[0]!);
      const data = await device.read(results.y);
      for (const y of Object.values<Any>(results)) y.dispose();
      return fused ? permute(data, [B, L, H, D], SWAP) : data;
    },
    dispose() {
      for (const x of new Set(feeds.flatMap((feed) => Object.values(feed)))) x.dispose();
      one.dispose();
      run.release();
    },
  };
}
