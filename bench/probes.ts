// What the device can do, by kernels of our own: the ceilings that results are percents of, and what overheads cost.
import type { Device } from '../src/gpu/device.ts';
import { specialise } from '../src/gpu/shader.ts';
import copyShader from './probes/copy.wgsl';
import fmaShader from './probes/fma.wgsl';
import nothingShader from './probes/nothing.wgsl';

export const PROBES = {
  copy: 'GB/s, read and written',
  fma: 'GFLOP/s',
  dispatch: 'us for one more in a pass',
  submit: 'us for one more',
  readback: 'us for 4 bytes',
} as const;
export type Probe = keyof typeof PROBES;

const ENOUGH = 20; // ms that a sample takes at least
const FLOPS = 64 * 512 * 3 * 8 * 4 * 2; // of a workgroup of fma.wgsl: threads, passes, chains, fma, lanes, operations

/** Measures a probe once; the first call of each also compiles it and finds how much work is enough. */
export function probes(device: Device): (name: Probe) => Promise<number> {
  const { gpu } = device;
  const storage = (bytes: number) => gpu.createBuffer({ size: bytes, usage: 0x80 | 0x4 | 0x8 }); // STORAGE, COPY_SRC, COPY_DST
  const streamed = Math.min(
    device.capabilities.software ? 64 << 20 : 256 << 20,
    gpu.limits.maxStorageBufferBindingSize,
  );
  let pair: [GPUBuffer, GPUBuffer] | undefined;
  const buffers = () => (pair ??= filled(gpu, storage(streamed), storage(streamed)));

  const kernel = async (source: typeof copyShader, changes: Record<string, string | number> = {}) => {
    const { gpu: pipeline, layout } = await device.pipeline(specialise(source, changes), source.name);
    const entries = buffers().map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = gpu.createBindGroup({ layout, entries });
    return (pass: GPUComputePassEncoder, groups: number) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      const rows = Math.ceil(groups / 65535);
      pass.dispatchWorkgroups(Math.ceil(groups / rows), rows);
    };
  };
  /** Milliseconds of `times` dispatches in one pass, or in a submit each. */
  const time = async (run: Awaited<ReturnType<typeof kernel>>, groups: number, times: number, apart = false) => {
    await device.idle();
    const start = performance.now();
    for (let s = 0; s < (apart ? times : 1); s++) {
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let i = 0; i < (apart ? 1 : times); i++) run(pass, groups);
      pass.end();
      gpu.queue.submit([encoder.finish()]);
    }
    await device.idle();
    return performance.now() - start;
  };
  /** How many times `f` has to be done to take long enough. */
  const enough = async (f: (times: number) => Promise<number>) => {
    await f(1);
    let times = 1;
    while ((await f(times)) < ENOUGH) times *= 2;
    return times;
  };

  const copies = streamed / 16 / 4 / 64; // workgroups
  const made: Partial<Record<Probe, Promise<() => Promise<number>>>> = {};
  const make: Record<Probe, () => Promise<() => Promise<number>>> = {
    async copy() {
      const forms = await Promise.all(['false', 'true'].map((APART) => kernel(copyShader, { APART })));
      const times: number[] = [];
      for (const form of forms) {
        await time(form, copies, 1);
        times.push(Math.min(await time(form, copies, 1), await time(form, copies, 1)));
      }
      const best = forms[times[0]! <= times[1]! ? 0 : 1]!;
      const n = await enough((k) => time(best, copies, k));
      return async () => (2 * streamed * n) / (await time(best, copies, n)) / 1e6;
    },
    async fma() {
      const run = await kernel(fmaShader);
      const n = await enough((k) => time(run, 16 * k, 1));
      return async () => (FLOPS * 16 * n) / (await time(run, 16 * n, 1)) / 1e6;
    },
    async dispatch() {
      const run = await kernel(nothingShader);
      await time(run, 1, 256);
      return async () => (await time(run, 1, 512)) / 0.512;
    },
    async submit() {
      const run = await kernel(nothingShader);
      await time(run, 1, 64, true);
      return async () => (await time(run, 1, 128, true)) / 0.128;
    },
    async readback() {
      const x = device.pool.acquire(256);
      return async () => {
        await device.idle();
        const start = performance.now();
        for (let i = 0; i < 16; i++) await device.read(x, 4);
        return (performance.now() - start) / 0.016;
      };
    },
  };
  return async (name) => (await (made[name] ??= make[name]()))();
}

/** Numbers that are neither equal nor zero: drivers and caches compress those. */
function filled(gpu: GPUDevice, ...pair: [GPUBuffer, GPUBuffer]): [GPUBuffer, GPUBuffer] {
  const part = Float32Array.from({ length: 1 << 18 }, (_, i) => Math.sin(i));
  for (let at = 0; at < pair[0].size; at += part.byteLength) {
    gpu.queue.writeBuffer(pair[0], at, part, 0, Math.min(part.length, (pair[0].size - at) / 4));
  }
  return pair;
}
