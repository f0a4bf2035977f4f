// The choice of an adapter, against WebGPU objects made up here; real ones are in smoke.test.ts.
import { expect, test } from 'vitest';
import { describeAdapter, requestAdapter } from '../../src/gpu/host.ts';

const facts = (vendor: string, architecture: string, device: string, description: string, lanes: number[] = [32, 32]) =>
  ({
    vendor,
    architecture,
    device,
    description,
    subgroupMinSize: lanes[0],
    subgroupMaxSize: lanes[1],
  }) as GPUAdapterInfo;

// as Dawn, Deno and Chromium report them
const SWIFTSHADER = [
  facts('google', 'swiftshader', 'swiftshader-device-subzero-', 'SwiftShader driver 5.0.0', [4, 4]),
  facts('6880', '', '49374', 'SwiftShader Device (Subzero)', [4, 4]),
  facts('google', 'swiftshader', '', '', [4, 4]),
];
const LAVAPIPE = [
  facts('mesa', 'software', 'llvmpipe-llvm-15-0-6-256-bits-', 'llvmpipe: Mesa 25.0.7 (LLVM 15.0.6) 0.0.1', [8, 8]),
  facts('65541', '', '0', 'llvmpipe (LLVM 15.0.6, 256 bits)', [8, 8]),
];
const OPENGL = facts('65541', '', '0', 'llvmpipe (LLVM 15.0.6, 256 bits)', [4, 128]);
const H100 = [
  facts('nvidia', 'hopper', 'nvidia-h100-80gb-hbm3', 'NVIDIA: 550.54.15'),
  facts('4318', '', '9009', 'NVIDIA H100 80GB HBM3'),
  facts('nvidia', 'hopper', '', ''),
];

/** A GPU whose answers depend on the request. */
function gpuOf(answer: (request: GPURequestAdapterOptions) => GPUAdapterInfo | null): GPU {
  const requestAdapter = async (request: GPURequestAdapterOptions = {}) => {
    const info = answer(request);
    return info && ({ info } as GPUAdapter);
  };
  return { requestAdapter } as unknown as GPU;
}

const dual = gpuOf(({ forceFallbackAdapter }) => (forceFallbackAdapter ? LAVAPIPE[0]! : H100[0]!));

test('describes one adapter in the same words in every runtime', () => {
  for (const info of SWIFTSHADER) {
    const same = {
      name: 'swiftshader',
      vendor: 'google',
      architecture: 'swiftshader',
      software: true,
      subgroup_size: 4,
    };
    expect(describeAdapter(info, 'dawn')).toMatchObject(same);
  }
  for (const info of LAVAPIPE) {
    const same = { name: 'llvmpipe', vendor: 'mesa', architecture: 'llvmpipe', software: true, subgroup_size: 8 };
    expect(describeAdapter(info, 'wgpu')).toMatchObject(same);
  }
  const names = H100.map((info) => describeAdapter(info, 'dawn'));
  expect(names.map(({ name }) => name)).toEqual(['nvidia h100 80gb hbm3', 'NVIDIA H100 80GB HBM3', 'nvidia hopper']);
  for (const found of names) expect(found).toMatchObject({ vendor: 'nvidia', software: false, subgroup_size: 32 });
  expect(describeAdapter(facts('intel', 'xe', '', '', [8, 32]), 'browser').subgroup_size).toBe(0);
  expect(describeAdapter({ ...facts('', '', '', '', []), isFallbackAdapter: true }, 'browser')).toMatchObject({
    name: 'unnamed',
    software: true,
    subgroup_size: 0,
  });
});

test.each([
  ['auto', 'nvidia h100 80gb hbm3'],
  ['gpu', 'nvidia h100 80gb hbm3'],
  ['software', 'llvmpipe'],
  ['H100', 'nvidia h100 80gb hbm3'],
  ['LLVMpipe', 'llvmpipe'],
  ['lavapipe', 'llvmpipe'],
  ['550.54', 'nvidia h100 80gb hbm3'],
])('of a GPU and a software adapter, %s is %s', async (adapter, name) => {
  const found = await requestAdapter({ gpu: dual, adapter });
  expect(found.info.name).toBe(name);
  expect(found.gpu).toBe(dual);
});

test('a rasteriser of unknown width is the last resort', async () => {
  const both = gpuOf(({ powerPreference }) => (powerPreference ? OPENGL : SWIFTSHADER[1]!));
  expect((await requestAdapter({ gpu: both })).info.name).toBe('swiftshader');
  expect((await requestAdapter({ gpu: gpuOf(() => OPENGL) })).info.name).toBe('llvmpipe');
});

test('says what was tried, and what to do', async () => {
  await expect(requestAdapter({ gpu: gpuOf(() => SWIFTSHADER[0]!), adapter: 'gpu' })).rejects.toThrow(
    "[gpu] no WebGPU adapter: got none, want 'gpu'. Tried:\n  the GPU object given: only swiftshader\n",
  );
  await expect(requestAdapter({ gpu: gpuOf(() => null) })).rejects.toThrow(/no adapter\n.*npm i --include=optional/);
  const broken = gpuOf(() => {
    throw new Error('out of memory');
  });
  await expect(requestAdapter({ gpu: broken })).rejects.toThrow('the GPU object given: out of memory');
});
