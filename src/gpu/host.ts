// How Tessera gets a GPU in each host: `navigator.gpu` where there is one (browsers, workers, Deno), else npm `webgpu`
// (Node, Bun), and SwiftShader from npm where the machine has no GPU. Options only: the environment is read by callers.
import { type DenoHost, hasVulkan, softwareDawn, softwareDeno } from './software.ts';

export type AdapterChoice = {
  /**
   * `auto` (default): a GPU, else a software adapter. `gpu`, `software`: only that. Another text: part of the adapter's
   * name, vendor or architecture, in any case (`llvmpipe`, `swiftshader`, `nvidia`).
   */
  adapter?: 'auto' | 'gpu' | 'software' | (string & {});
  /** A WebGPU implementation to ask instead of the host's. */
  gpu?: GPU;
  /** In Deno: `npm` takes npm `webgpu` instead of its own WebGPU. */
  webgpu?: 'native' | 'npm';
  /** Where SwiftShader is unpacked; default: the user's cache folder, else the folder for temporary files. */
  cacheDir?: string;
  /** More of Dawn's feature toggles to enable (npm `webgpu` only), such as `allow_unsafe_apis`. */
  toggles?: string[];
};

/** One adapter, in the same words in every runtime. */
export type AdapterDescription = {
  name: string;
  vendor: string;
  architecture: string;
  /** The host's own text, with the driver's version where it tells. */
  driver: string;
  software: boolean;
  /** Lanes of a subgroup; 0 where that varies or is not known. Deno's own WebGPU tells it but lacks `subgroups`. */
  subgroup_size: number;
  runtime: 'node' | 'bun' | 'deno' | 'browser';
  backend: 'dawn' | 'wgpu' | 'browser';
};

export type FoundAdapter = { adapter: GPUAdapter; info: AdapterDescription; gpu: GPU };

type Source = { label: string; gpu(): GPU | Promise<GPU>; done?(): void };

type Host = {
  Deno?: DenoHost;
  Bun?: object;
  process?: { versions?: { node?: string }; on?(event: 'exit', listener: () => void): void };
  navigator?: { gpu?: GPU };
};
const host = globalThis as Host;

/** The runtime this code is in. */
export const runtime: AdapterDescription['runtime'] = (() => {
  if (host.Deno) return 'deno';
  if (host.Bun) return 'bun';
  return host.process?.versions?.node ? 'node' : 'browser';
})();

/**
 * The adapter asked for, its description and the GPU object it came from.
 * Throws with everything that was tried when there is none.
 */
export async function requestAdapter(choice: AdapterChoice = {}): Promise<FoundAdapter> {
  const wanted = choice.adapter ?? 'auto';
  const tried: string[] = [];
  let spare: FoundAdapter | undefined;
  for (const source of sources(choice, wanted)) {
    try {
      const gpu = await source.gpu();
      const names: string[] = [];
      for await (const adapter of adaptersOf(gpu, wanted)) {
        const found = { adapter, gpu, info: describeAdapter(adapter.info, backendOf(gpu)) };
        names.push(found.info.name);
        if (!matches(found, wanted)) continue;
        // without Vulkan, wgpu offers Mesa's OpenGL rasteriser, of unknown width: the last resort
        if (!found.info.software || found.info.subgroup_size > 0) return found;
        spare ??= found;
      }
      tried.push(`${source.label}: ${names.length ? `only ${names.join(', ')}` : 'no adapter'}`);
    } catch (error) {
      tried.push(`${source.label}: ${(error as Error).message.replace(/^\[gpu\] /, '')}`);
    } finally {
      source.done?.();
    }
  }
  if (spare) return spare;
  throw new Error(
    `[gpu] no WebGPU adapter: got none, want '${wanted}'. Tried:\n${tried.map((t) => `  ${t}\n`).join('')}${ADVICE}`,
  );
}

/**
 * The adapters that this host offers, each once, and where there is none and why. Ask for the adapter that is wanted first:
 * Deno looks for drivers once.
 */
export async function listAdapters(
  choice: AdapterChoice = {},
): Promise<{ adapters: AdapterDescription[]; missing: string[] }> {
  const adapters = new Map<string, AdapterDescription>();
  const missing: string[] = [];
  for (const source of sources(choice, 'auto')) {
    try {
      const gpu = await source.gpu();
      let isEmpty = true;
      for await (const { info } of adaptersOf(gpu, 'any')) {
        isEmpty = false;
        const found = describeAdapter(info, backendOf(gpu));
        adapters.set([found.backend, found.name, found.driver].join('\n'), found);
      }
      if (isEmpty) missing.push(`${source.label}: no adapter`);
    } catch (error) {
      missing.push(`${source.label}: ${(error as Error).message.replace(/^\[gpu\] /, '')}`);
    } finally {
      source.done?.();
    }
  }
  return { adapters: [...adapters.values()], missing };
}

const ADVICE =
  runtime === 'browser'
    ? 'Use a current browser with WebGPU, in a page served over https or from localhost, and with graphics acceleration on.'
    : 'A GPU needs its driver (on Linux: for Vulkan). A software adapter comes with `npm i --include=optional` ' +
      '(SwiftShader, linux-x64) or with the system package mesa-vulkan-drivers.';

/** The same words for an adapter or device in every runtime: Deno gives PCI numbers, Chromium hides the name. */
export function describeAdapter(info: GPUAdapterInfo, backend: AdapterDescription['backend']): AdapterDescription {
  const all = [info.vendor, info.architecture, info.device, info.description].join(' ');
  const rasteriser = /swiftshader|llvmpipe|microsoft basic render/i.exec(all)?.[0].toLowerCase();
  const vendor = PCI_VENDORS[info.vendor] ?? info.vendor;
  const device = /[a-z]/i.test(info.device) ? info.device.replaceAll('-', ' ').trim() : info.description;
  return {
    name: rasteriser ?? (device || `${vendor} ${info.architecture}`.trim() || 'unnamed'),
    vendor,
    architecture: rasteriser ?? info.architecture,
    driver: info.description,
    software: rasteriser !== undefined || info.isFallbackAdapter === true,
    subgroup_size: info.subgroupMinSize === info.subgroupMaxSize ? (info.subgroupMaxSize ?? 0) : 0,
    runtime,
    backend,
  };
}

// pcisig.com; 65541 is VK_VENDOR_ID_MESA of the Vulkan registry
const PCI_VENDORS: Record<string, string> = {
  4098: 'amd',
  4112: 'img-tec',
  4203: 'apple',
  4318: 'nvidia',
  5045: 'arm',
  5140: 'microsoft',
  6880: 'google',
  20803: 'qualcomm',
  32902: 'intel',
  65541: 'mesa',
};

function matches({ adapter, info }: FoundAdapter, wanted: string): boolean {
  if (wanted === 'auto') return true;
  if (wanted === 'gpu' || wanted === 'software') return info.software === (wanted === 'software');
  const text = [info.name, info.vendor, info.architecture, adapter.info.device, info.driver].join(' ');
  return text.toLowerCase().includes(wanted.toLowerCase().replace('lavapipe', 'llvmpipe')); // two names of one driver
}

/** Where to look, in order. SwiftShader comes first when software is wanted: the pinned build, not the system's. */
function sources(choice: AdapterChoice, wanted: string): Source[] {
  if (choice.gpu) return [{ label: 'the GPU object given', gpu: () => choice.gpu! }];

  const isName = !['auto', 'gpu', 'software'].includes(wanted);
  const native = host.Deno && choice.webgpu === 'npm' ? undefined : host.navigator?.gpu;
  const system: Source[] = [];
  const software: Source[] = [];
  if (native || runtime === 'browser') {
    system.push({ label: 'navigator.gpu', gpu: () => native ?? Promise.reject(new Error('this host has no WebGPU')) });
  } else {
    system.push({ label: "npm webgpu with the system's drivers", gpu: () => dawn(choice) });
    if (isName) system.push({ label: `npm webgpu with adapter=${wanted}`, gpu: () => dawn(choice, false, wanted) });
  }
  if (native && host.Deno) software.push(denoWithSwiftshader(native, host.Deno, choice.cacheDir));
  if (runtime !== 'browser') software.push({ label: 'npm webgpu with SwiftShader', gpu: () => dawn(choice, true) });

  if (wanted === 'gpu') return system;
  if (isName && !'swiftshader'.includes(wanted.toLowerCase())) return system;
  // Deno looks for drivers once: without a Vulkan loader its first request would settle for OpenGL
  const late = wanted === 'auto' && !(native && host.Deno && !hasVulkan(host.Deno));
  return late ? [...system, ...software] : [...software, ...system];
}

function denoWithSwiftshader(native: GPU, deno: DenoHost, cacheDir?: string): Source {
  let restore = () => {};
  return {
    label: 'Deno with SwiftShader',
    gpu: async () => {
      restore = await softwareDeno(deno, cacheDir);
      return native;
    },
    done: () => restore(),
  };
}

function backendOf(gpu: GPU): AdapterDescription['backend'] {
  if (runtime === 'browser') return 'browser';
  return host.Deno && gpu === host.navigator?.gpu ? 'wgpu' : 'dawn';
}

/** WebGPU cannot list adapters; its request options reach most of them. */
async function* adaptersOf(gpu: GPU, wanted: string): AsyncGenerator<GPUAdapter> {
  const requests: GPURequestAdapterOptions[] = [{ powerPreference: 'high-performance' }, {}];
  if (wanted === 'software') requests.unshift({ forceFallbackAdapter: true });
  else if (wanted !== 'auto') requests.push({ powerPreference: 'low-power' }, { forceFallbackAdapter: true });
  const seen = new Set<string>();
  for (const request of requests) {
    const adapter = await gpu.requestAdapter(request);
    if (!adapter) continue;
    const { vendor, architecture, device, description } = adapter.info;
    const key = [vendor, architecture, device, description].join('\n');
    if (!seen.has(key)) yield adapter;
    seen.add(key);
  }
}

// dawn.node's objects hold no reference to what create() gave: once it is collected, the process dies.
const KEPT = Symbol.for('tessera.gpu');
const kept = ((globalThis as { [KEPT]?: Map<string, Promise<GPU>> })[KEPT] ??= new Map());

/** Dawn's GPU, one for each set of options. */
function dawn(choice: AdapterChoice, software = false, name?: string): Promise<GPU> {
  const options = ['disable-dawn-features=timestamp_quantization']; // else timestamps come in steps of 65 us
  if (choice.toggles?.length) options.push(`enable-dawn-features=${choice.toggles.join(',')}`);
  if (name) options.push(`adapter=${name}`);
  const key = [software, ...options].join(' ');
  const open = async () => {
    if (software) return softwareDawn(options, choice.cacheDir);
    if (!hasVulkan(host.Deno)) throw new Error('no Vulkan loader (libvulkan.so.1)'); // Dawn would print it
    return (await import('webgpu')).create(options);
  };
  let gpu = kept.get(key);
  if (!gpu) {
    gpu = open();
    kept.set(key, gpu);
    gpu.catch(() => kept.delete(key));
  }
  return gpu;
}

let atExit: Set<WeakRef<GPUDevice>> | undefined;

/**
 * Destroys a device of Dawn when the process ends, if it is still there. That waits for the driver's threads, which may be
 * compiling: Mesa's would run into the destructors of its library, and the process would die of it.
 */
export function destroyAtExit(gpu: GPUDevice): void {
  if (!atExit) {
    const devices = (atExit = new Set());
    host.process?.on?.('exit', () => {
      for (const device of devices) device.deref()?.destroy();
    });
  }
  const ref = new WeakRef(gpu);
  atExit.add(ref);
  gpu.lost.then(() => atExit!.delete(ref));
}
