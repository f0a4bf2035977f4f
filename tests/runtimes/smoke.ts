// The smallest program that needs a GPU: a matrix product of 64, and what adapter it ran on.
import { type AdapterChoice, type AdapterDescription, requestAdapter } from '../../src/gpu/host.ts';
import { sha256 } from '../sha256.ts';
import shader from './smoke.wgsl';

export type Smoke = { info: AdapterDescription; features: string[]; sha256: string; values: number[] };

const SIZE = 64;
const STORAGE = 0x80;
const COPY_SRC = 0x04;
const COPY_DST = 0x08;
const MAP_READ = 0x01;

/** [SIZE, SIZE] of numbers in [-1, 1) with 24 bits each, the same everywhere. */
export function matrix(seed: number): Float32Array<ArrayBuffer> {
  let state = seed;
  return Float32Array.from({ length: SIZE * SIZE }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator
    return (state >>> 8) / 2 ** 23 - 1;
  });
}

export async function main(options: AdapterChoice): Promise<Smoke> {
  const { adapter, info } = await requestAdapter(options);
  const gc = (globalThis as { gc?: () => void }).gc; // with --expose-gc: what only native code uses must survive
  for (let i = 0; gc && i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 5)).then(gc);
  const device = await adapter.requestDevice();
  const buffer = (usage: number) => device.createBuffer({ size: SIZE * SIZE * 4, usage });
  const inputs = [matrix(1), matrix(2)].map((values) => {
    const made = buffer(STORAGE | COPY_DST);
    device.queue.writeBuffer(made, 0, values);
    return made;
  });
  const output = buffer(STORAGE | COPY_SRC);
  const host = buffer(MAP_READ | COPY_DST);

  const module = device.createShaderModule({ code: Object.values(shader.declarations).join('\n') });
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module } });
  const entries = [...inputs, output].map((resource, binding) => ({ binding, resource: { buffer: resource } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(SIZE / 8, SIZE / 8);
  pass.end();
  encoder.copyBufferToBuffer(output, 0, host, 0, SIZE * SIZE * 4);
  device.queue.submit([encoder.finish()]);
  await host.mapAsync(MAP_READ);
  const result = new Float32Array(host.getMappedRange().slice(0));
  host.unmap();
  return {
    info,
    features: [...adapter.features].sort(),
    sha256: await sha256(result),
    values: [...result.subarray(0, 64)],
  };
}
