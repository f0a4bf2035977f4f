// A plan on its device, ready to run again: bind groups made once for each set of buffers, one parameter buffer.
import { Device } from '../gpu/device.ts';
import { type Buffer, megabytes, OutOfMemory, sizeClass } from '../gpu/pool.ts';
import { describe } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Graph } from './graph.ts';
import { growth, type Place } from './memory.ts';
import { makePlan, type Plan, type Step } from './plan.ts';
import { serial } from './serial.ts';
import { type Piece, pieces, submit } from './submit.ts';
import { tracer } from './trace.ts';

const MAX_PLANS = 128; // of one device; the least recently used goes first
const MAX_BIND_GROUPS = 64; // of one step; outputs and inputs rotate over few pooled buffers
const MAX_BOUND = 16; // sets of buffers whose bind groups are at hand

/** What the plans of one device share. They run one after the other, so slots are the maximum of them, not the sum. */
class Shared {
  static readonly #of = new WeakMap<Device, Shared>();
  readonly plans = new Map<string, Promise<Replay>>();
  readonly slots: Buffer[] = [];

  static of(device: Device): Shared {
    let shared = Shared.#of.get(device);
    if (!shared) Shared.#of.set(device, (shared = new Shared()));
    return shared;
  }

  grow({ pool }: Device, sizes: readonly number[]): void {
    const { made, spare } = growth(
      this.slots.map(({ size }) => size),
      sizes,
    );
    for (const slot of this.slots.splice(this.slots.length - spare)) pool.release(slot);
    for (const bytes of made) this.slots.push(pool.acquire(bytes));
    if (made.length > 0) this.slots.sort((a, b) => b.size - a.size);
  }
}

/** Frees plans, slots and waiting buffers: with all tensors disposed no buffer is left on the device. */
export async function trim(device: Device): Promise<void> {
  if (!(device instanceof Device)) {
    throw new TypeError(`[trim] device: got ${describe(device)}, want a Device: await defaultDevice()`);
  }
  await serial(async () => {
    const shared = Shared.of(device);
    const replays = [...shared.plans.values()];
    shared.plans.clear();
    for (const replay of await Promise.allSettled(replays)) if (replay.status === 'fulfilled') replay.value.dispose();
    for (const slot of shared.slots.splice(0)) device.pool.release(slot);
    device.pool.trim();
  });
}

/** The bind groups of all steps for one set of buffers. */
type Bound = Record<Place['of'], readonly Buffer[]> & { groups: GPUBindGroup[] };
const same = (a: readonly Buffer[], b: readonly Buffer[]) => a.length === b.length && a.every((x, i) => x === b[i]);

export class Replay {
  readonly #device: Device;
  readonly #plan: Plan;
  readonly #outputs: readonly number[]; // bytes
  #params: Buffer | null;
  readonly #bindGroups: Map<string, GPUBindGroup>[];
  readonly #bound: Bound[] = [];
  readonly #pieces: readonly Piece[];
  #proven = false;

  private constructor(device: Device, plan: Plan, outputs: readonly Tensor[]) {
    this.#device = device;
    this.#plan = plan;
    this.#outputs = outputs.map((t) => t.nbytes);
    this.#params = this.#upload();
    this.#bindGroups = plan.steps.map(() => new Map());
    this.#pieces = pieces(plan.steps, device.capabilities.software);
  }

  /** The plan of a graph's structure, from the cache or new. */
  static async of(graph: Graph, device: Device): Promise<Replay> {
    const { plans } = Shared.of(device);
    const key = graph.key;
    const known = plans.get(key);
    tracer()?.plan(graph, known !== undefined);
    if (known) {
      plans.delete(key);
      plans.set(key, known); // most recently used last
      return known;
    }
    const made = makePlan(graph, device).then((plan) => new Replay(device, plan, graph.outputs));
    plans.set(key, made);
    made.catch(() => plans.delete(key));
    if (plans.size > MAX_PLANS) {
      const [oldest, replay] = plans.entries().next().value!;
      plans.delete(oldest);
      await replay.then((r) => r.dispose()).catch(() => {}); // one that did not compile has nothing to give back
    }
    return made;
  }

  /**
   * Runs it: buffers of the leaves and values of the scalars in, buffers of the outputs (now the caller's) out. Up to the
   * first submit nothing is awaited, and no buffer that is given back meanwhile goes to anyone else. What WebGPU finds wrong with the first run is thrown, with the labels of its ops.
   */
  async run(leaves: readonly Buffer[], scalars: readonly number[], signal?: AbortSignal): Promise<Buffer[]> {
    const device = this.#device;
    const shared = Shared.of(device);
    this.#writeScalars(scalars);
    const outputs: Buffer[] = [];
    if (!this.#proven) device.gpu.pushErrorScope('validation');
    const trouble = async () => (this.#proven ? null : await device.gpu.popErrorScope());
    try {
      shared.grow(device, this.#plan.slots);
      for (const bytes of this.#outputs) outputs.push(device.pool.acquire(bytes));
      const groups = this.#groups(leaves, outputs);
      await this.#submit(groups, signal);
    } catch (error) {
      await trouble();
      for (const buffer of outputs) device.pool.release(buffer);
      throw error instanceof OutOfMemory ? this.#tooLarge(shared, error) : error;
    }
    try {
      const error = await trouble();
      const own = this.#params ? [this.#params] : [];
      await device.pool.proven([...leaves, ...outputs, ...shared.slots, ...own]); // first: what has no memory is invalid too
      if (error) throw new Error(`[run] ${error.message}`);
    } catch (error) {
      for (const buffer of outputs) device.pool.release(buffer);
      if (device.isLost) device.check();
      if (this.#params?.isBroken) this.#renew();
      throw error instanceof OutOfMemory ? this.#tooLarge(shared, error) : error;
    }
    this.#proven = true;
    return outputs;
  }

  /** The parameters on the device, if there are any. */
  #upload(): Buffer | null {
    const { params } = this.#plan;
    if (params.byteLength === 0) return null;
    const buffer = this.#device.pool.acquire(params.byteLength, 'uniform');
    this.#device.write(buffer, 0, params);
    return buffer;
  }

  /** Other parameters for the next run, in the place of those that the device had no memory for. */
  #renew(): void {
    const made = this.#upload();
    this.dispose();
    this.#params = made;
    for (const groups of this.#bindGroups) groups.clear();
    this.#bound.length = 0;
  }

  /** Frees what plans share, and says what this one takes and what would fit. */
  #tooLarge(shared: Shared, { message }: OutOfMemory): OutOfMemory {
    const { pool } = this.#device;
    for (const slot of shared.slots.splice(0)) pool.release(slot);
    pool.trim();
    const wanted = [...this.#plan.slots, ...this.#outputs].reduce((n, bytes) => n + sizeClass(bytes), 0);
    const left = pool.limit - pool.stats.liveBytes;
    const fits = Number.isFinite(left) ? `, ${megabytes(left)} would fit` : '';
    return new OutOfMemory(
      `[run] this run takes ${megabytes(wanted)} beside ${megabytes(pool.stats.liveBytes)} in use${fits}: ` +
        `run fewer inputs at once, or dispose tensors. (${message})`,
    );
  }

  async #submit(groups: readonly GPUBindGroup[], signal: AbortSignal | undefined): Promise<void> {
    const letGo = this.#device.pool.hold();
    try {
      const trace = tracer();
      if (trace) await trace.run(this.#device, this.#plan.steps, groups, signal);
      else await submit(this.#device, this.#plan.steps, groups, this.#pieces, signal);
    } finally {
      letGo();
    }
  }

  #writeScalars(values: readonly number[]): void {
    const { scalars, params } = this.#plan;
    if (scalars.length === 0) return;
    const view = new DataView(params.buffer);
    for (const { label, name, offset, index, type, atMost } of scalars) {
      const value = values[index]!;
      if (value > atMost || (value < 0 && Number.isFinite(atMost))) {
        throw new RangeError(`[${label}] ${name}: got ${value}, want 0..${atMost}`);
      }
      if (type === 'f32') view.setFloat32(offset, value, true);
      else view.setInt32(offset, value, true);
    }
    this.#device.write(this.#params!, 0, params);
  }

  #groups(leaves: readonly Buffer[], outputs: readonly Buffer[]): GPUBindGroup[] {
    const { slots } = Shared.of(this.#device);
    const of = { leaf: leaves, output: outputs, slot: slots };
    const known = this.#bound.find((b) => same(b.output, outputs) && same(b.slot, slots) && same(b.leaf, leaves));
    if (known) return known.groups;
    const buffer = ({ of: kind, index }: Place) => of[kind][index]!;
    const groups = this.#plan.steps.map((step, i) => this.#group(step, this.#bindGroups[i]!, buffer));
    if (this.#bound.length >= MAX_BOUND) this.#bound.length = 0;
    this.#bound.push({ leaf: [...leaves], output: [...outputs], slot: [...slots], groups });
    return groups;
  }

  #group(step: Step, cache: Map<string, GPUBindGroup>, buffer: (place: Place) => Buffer): GPUBindGroup {
    const key = step.buffers.map(({ place }) => buffer(place).id).join();
    const known = cache.get(key);
    if (known) return known;
    const entries: GPUBindGroupEntry[] = [
      ...step.buffers.map(({ binding, place, offset, size }) => {
        const { gpu, size: whole } = buffer(place);
        return { binding, resource: { buffer: gpu, offset, size: Math.min(size, whole - offset) } };
      }),
      ...step.uniforms.map(({ binding, offset, size }) => ({
        binding,
        resource: { buffer: this.#params!.gpu, offset, size },
      })),
    ];
    this.#device.counters.bindGroups++;
    const group = this.#device.gpu.createBindGroup({ label: step.label, layout: step.pipeline.layout, entries });
    if (cache.size >= MAX_BIND_GROUPS) cache.clear();
    cache.set(key, group);
    return group;
  }

  dispose(): void {
    if (this.#params) this.#device.pool.release(this.#params, 'uniform');
    this.#params = null;
  }
}
