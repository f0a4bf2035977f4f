// A WebGPU device with what every layer above shares: pipelines, buffers, the queue's order. It knows no tensors.
import {
  type AdapterChoice,
  type AdapterDescription,
  describeAdapter,
  destroyAtExit,
  requestAdapter,
  runtime,
} from './host.ts';
import { type Buffer, BufferPool } from './pool.ts';
import type { Shader } from './shader.ts';

/** The device is gone (driver reset, `device.destroy()`, a closed tab): make a new one and load again. */
export class DeviceLost extends Error {
  override name = 'DeviceLost';
}

/** Which adapter, and how many bytes of its memory may be taken: more is an OutOfMemory. */
export type DeviceChoice = AdapterChoice & { max_memory?: number | undefined };

/** What a kernel may depend on. */
export type Capabilities = {
  software: boolean;
  /** Lanes of a subgroup where that is one fixed number, else 0. */
  subgroupSize: number;
  /** Bytes of a buffer that one binding may show: larger tensors are bound in pieces. */
  maxBinding: number;
};

export type Pipeline = { gpu: GPUComputePipeline; layout: GPUBindGroupLayout; shader: Shader };

export class Device {
  readonly gpu: GPUDevice;
  readonly adapter: AdapterDescription;
  readonly capabilities: Capabilities;
  readonly pool: BufferPool;
  readonly counters = { pipelines: 0, bindGroups: 0, dispatches: 0, submits: 0 };
  readonly #pipelines = new Map<string, Promise<Pipeline>>();
  #lost: DeviceLost | null = null;
  #choice: DeviceChoice | null = null;
  #heir: Promise<Device> | undefined;
  #failure: Error | null = null;

  constructor(gpu: GPUDevice, adapter: AdapterDescription, max_memory?: number) {
    this.gpu = gpu;
    wrapped.set(gpu, this);
    this.adapter = adapter;
    this.pool = new BufferPool(gpu, max_memory);
    this.capabilities = {
      software: adapter.software,
      subgroupSize: gpu.features.has('subgroups') ? adapter.subgroup_size : 0,
      maxBinding: gpu.limits.maxStorageBufferBindingSize,
    };
    const fail = (event: Event) => {
      this.#failure ??= new Error(`[gpu] ${(event as GPUUncapturedErrorEvent).error.message}`);
    };
    gpu.addEventListener?.('uncapturederror', fail);
    gpu.lost.then(({ reason, message }) => {
      this.#lost = new DeviceLost(
        `[gpu] the device was lost (${reason || 'unknown'}): ${message || 'no reason given'}`,
      );
      gpu.removeEventListener?.('uncapturederror', fail); // Dawn's Node binding keeps who listens for ever
    });
  }

  /** A device of this host with all the adapter's limits; see `DeviceChoice`. */
  static async request(choice: DeviceChoice = {}): Promise<Device> {
    const { max_memory = 1 } = choice;
    if (typeof max_memory !== 'number' || !(max_memory > 0)) {
      throw new TypeError(`[device] max_memory: got ${String(max_memory)}, want a number of bytes`);
    }
    const { adapter, info } = await requestAdapter(choice);
    const limits: Record<string, number> = {};
    for (const name in adapter.limits) {
      const value = adapter.limits[name as keyof GPUSupportedLimits];
      if (typeof value === 'number') limits[name] = value;
    }
    const features = (['subgroups'] as GPUFeatureName[]).filter((f) => adapter.features.has(f));
    const gpu = await adapter.requestDevice({ requiredLimits: limits, requiredFeatures: features });
    if (info.backend === 'dawn') destroyAtExit(gpu);
    const device = new Device(gpu, info, choice.max_memory);
    device.#choice = choice;
    return device;
  }

  /** The Device of a GPUDevice that exists already (a page's own): always the same one. A Device is its own. */
  static from(gpu: GPUDevice | Device): Device {
    if (gpu instanceof Device) return gpu;
    if (typeof (gpu as Partial<GPUDevice> | null)?.createBuffer !== 'function') {
      const got = typeof gpu === 'string' ? `'${gpu}'` : Object.prototype.toString.call(gpu);
      throw new TypeError(`[device] got ${got}, want a Device or a GPUDevice; without one the default is taken`);
    }
    const known = wrapped.get(gpu);
    if (known) return known;
    return new Device(gpu, describeAdapter(gpu.adapterInfo, runtime === 'browser' ? 'browser' : 'dawn'));
  }

  get isLost(): boolean {
    return this.#lost !== null;
  }

  /**
   * This device, or once it is lost one like it, requested anew. Throws DeviceLost where there is none: the GPUDevice was the
   * caller's, or the device was disposed.
   */
  async heir(): Promise<Device> {
    if (!this.#lost) return this;
    if (!this.#choice) throw this.#lost;
    this.#heir ??= Device.request(this.#choice);
    try {
      return await (await this.#heir).heir();
    } catch (error) {
      this.#heir = undefined;
      throw error;
    }
  }

  /** Throws what went wrong since the last call: a lost device or an error the driver reported late. */
  check(): void {
    if (this.#lost) throw this.#lost;
    const failure = this.#failure;
    this.#failure = null;
    if (failure) throw failure;
  }

  /** The pipeline of a shader's text, compiled once. Errors name the shader and the line. */
  pipeline(shader: Shader, label: string): Promise<Pipeline> {
    let found = this.#pipelines.get(shader.code);
    if (!found) {
      found = this.#compile(shader, label);
      this.#pipelines.set(shader.code, found);
      found.catch(() => this.#pipelines.delete(shader.code));
    }
    return found;
  }

  async #compile(shader: Shader, label: string): Promise<Pipeline> {
    this.check();
    this.counters.pipelines++;
    this.gpu.pushErrorScope('validation'); // told by the messages below, not as an uncaptured error too
    const module = this.gpu.createShaderModule({ label, code: shader.code });
    this.gpu.popErrorScope().catch(() => {});
    try {
      const gpu = await this.gpu.createComputePipelineAsync({
        label,
        layout: 'auto',
        compute: { module, entryPoint: 'main' },
      });
      return { gpu, layout: gpu.getBindGroupLayout(0), shader };
    } catch (error) {
      this.check();
      const { messages } = await module.getCompilationInfo();
      const lines = messages.map((m) => `${m.lineNum}:${m.linePos} ${m.message}`).join('; ');
      throw new Error(`[${label}] the kernel does not compile: ${lines || (error as Error).message}`);
    }
  }

  /** Copies bytes into a buffer; `at` and the length are multiples of 4. */
  write(buffer: Buffer, at: number, bytes: ArrayBufferView): void {
    this.gpu.queue.writeBuffer(buffer.gpu, at, bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Puts one f32 into the first `bytes`, a multiple of 4. */
  fill(buffer: Buffer, value: number, bytes: number): void {
    if (value === 0) {
      const encoder = this.gpu.createCommandEncoder();
      encoder.clearBuffer(buffer.gpu, 0, bytes);
      this.gpu.queue.submit([encoder.finish()]);
      return;
    }
    const piece = new Float32Array(Math.min(bytes / 4, FILL)).fill(value);
    for (let at = 0; at < bytes; at += 4 * FILL) this.write(buffer, at, piece.subarray(0, (bytes - at) / 4));
  }

  copy(from: Buffer, to: Buffer, at: number, bytes: number): void {
    const encoder = this.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(from.gpu, 0, to.gpu, at, Math.min(bytes, to.size - at));
    this.gpu.queue.submit([encoder.finish()]);
  }

  /** Settles when all that was submitted is done. */
  async idle(): Promise<void> {
    await this.gpu.queue.onSubmittedWorkDone();
    this.check();
  }

  /** The first `bytes` of a buffer, once all work before has finished. */
  async read(buffer: Buffer, bytes: number): Promise<ArrayBuffer> {
    const length = Math.ceil(bytes / 4) * 4;
    const staging = this.pool.acquire(length, 'staging');
    const encoder = this.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer.gpu, 0, staging.gpu, 0, length);
    this.gpu.queue.submit([encoder.finish()]);
    try {
      await staging.gpu.mapAsync(GPU_MAP_READ, 0, length);
      const copy = staging.gpu.getMappedRange(0, length).slice(0, bytes);
      staging.gpu.unmap();
      this.check();
      return copy;
    } catch (error) {
      await this.pool.proven([staging]);
      await this.gpu.queue.onSubmittedWorkDone().catch(() => {}); // Deno's wgpu tells of a loss when it is polled
      await new Promise((resolve) => setTimeout(resolve)); // `lost` settles in a task of its own
      this.check();
      throw error;
    } finally {
      this.pool.release(staging, 'staging');
    }
  }

  /** Frees everything the device holds. Tensors on it are gone, and no other takes its place. */
  dispose(): void {
    this.#choice = null;
    this.gpu.destroy();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

const wrapped = new WeakMap<GPUDevice, Device>();
const FILL = 2 ** 18; // elements that are made to fill a buffer
const GPU_MAP_READ = 1; // GPUMapMode is a global that Node does not have
