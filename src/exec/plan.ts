// From a graph to a plan: a flat list of pipelines with places for their buffers, and the parameters of all of them.
import type { Capabilities, Device, Pipeline } from '../gpu/device.ts';
import { inPieces, piecesOf } from '../gpu/pieces.ts';
import { pack, type StructLayout, specialise } from '../gpu/shader.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type Chain, writeChain, writeJoint } from './fuse.ts';
import type { Graph } from './graph.ts';
import { type Group, groups } from './group.ts';
import { join, type Part } from './join.ts';
import { constOf, type Dispatch, kernel, type Param } from './kernel.ts';
import { assignSlots, type Place } from './memory.ts';

export type Step = {
  label: string;
  pipeline: Pipeline;
  buffers: { binding: number; place: Place; offset: number; size: number }[];
  uniforms: { binding: number; offset: number; size: number }[];
  groups: readonly [number, number, number];
  /** Bytes read and written, each once, and floating point operations. */
  bytes: number;
  flops: number;
};

type ParamType = StructLayout['fields'][string]['type'];

export type Plan = {
  steps: Step[];
  slots: number[];
  /** Parameters of all steps as they lie in one uniform buffer, and where the graph's scalars go in them. */
  params: Uint8Array;
  scalars: { label: string; name: string; offset: number; index: number; type: ParamType; atMost: number }[];
};

const ALIGN = 256; // minUniformBufferOffsetAlignment is at most this
const MAX_GROUPS = 65535; // of each dimension of a dispatch
const LARGE = 2 ** 18; // elements from which a faster kernel repays its longer compilation

/** A number of workgroups in two dimensions; kernels count `wid.x + wid.y * num.x` and return past the end. */
export function fold(count: Dispatch['groups']): readonly [number, number, number] {
  if (typeof count !== 'number') return count;
  const rows = Math.max(1, Math.ceil(count / MAX_GROUPS));
  return [Math.ceil(count / rows), rows, 1];
}

const pieceBytes = ({ maxBinding }: Capabilities) => Math.floor(maxBinding / ALIGN) * ALIGN;

/** The kernels of a group. */
function drafts(group: Group, capabilities: Capabilities): Part[] {
  const { root, producer, prologue, members } = group;
  const finish = (dispatch: Dispatch, chain?: Chain): Part => {
    const bindings = { ...dispatch.bindings, ...chain?.bindings };
    const whole = specialise(dispatch.shader, dispatch.changes, chain?.extra);
    const large = Object.entries(bindings).filter(([, t]) => t.base.nbytes > capabilities.maxBinding);
    const bytes = pieceBytes(capabilities);
    const counts = large.map(([name, t]) => [name, piecesOf(t.base.nbytes, bytes)] as const);
    const shader = large.length > 0 ? inPieces(whole, Object.fromEntries(counts), bytes) : whole;
    return { dispatch: { ...dispatch, bindings }, shader, group, ...(chain && { chain }) };
  };
  const made = (t: Tensor, y: Tensor) => t.op!.dispatch!(t.inputs as Tensor[], y, t.attrs, capabilities);
  if (members.length === 0) {
    return made(root, root).map((dispatch) => {
      if (!prologue) return finish(dispatch);
      const [name, input] = Object.entries(dispatch.bindings).find(([, t]) => t.base === prologue.root)!;
      const row = input.shape.at(-1)! % 4 === 0 ? 4 : Number.NaN; // quads that begin anywhere and cross rows
      const { [name]: _, ...bindings } = dispatch.bindings;
      return finish({ ...dispatch, bindings }, writeChain(group, row, dispatch.shader.bindings.length, name));
    });
  }
  if (!producer) {
    const { shader } = root.op!.map!;
    const [WG, QUADS] = [constOf(shader, 'WG'), constOf(shader, 'QUADS')];
    const { software, subgroupSize } = capabilities;
    const order = software ? { LANE: QUADS, STEP: 1 } : { LANE: 1, STEP: WG };
    const changes = { ...order, WRITTEN_OUT: `${software && subgroupSize === 4 && root.size >= LARGE}` };
    const call = { params: { n: root.size }, groups: Math.ceil(root.size / (4 * WG * QUADS)), aligned: ['y'], changes };
    const dispatch = kernel(shader)({ y: root }, call);
    return [finish(dispatch, writeChain(group, 4, shader.bindings.length))];
  }
  const row = producer.shape.at(-1)!;
  const end = new Tensor({ shape: producer.shape, dtype: root.dtype }); // stands for the root in the producer's shape
  return made(producer, end).map((dispatch) => {
    const entries = Object.entries(dispatch.bindings).map(([name, t]) => [name, t === end ? root : t]);
    const chain = writeChain(group, row % 4 === 0 ? 4 : row, dispatch.shader.bindings.length);
    return finish({ ...dispatch, bindings: Object.fromEntries(entries) }, chain);
  });
}

/** Parameters of many kernels in one buffer, each at an offset that a binding may have. */
class Params {
  readonly scalars: Plan['scalars'] = [];
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  readonly #index: ReadonlyMap<Tensor, number>;

  constructor(scalars: readonly Tensor[]) {
    this.#index = new Map(scalars.map((t, i) => [t, i]));
  }

  add(label: string, layout: StructLayout, params: Record<string, Param>, atMost: Record<string, number> = {}) {
    const offset = this.#size;
    const bytes = new Uint8Array(Math.ceil(layout.size / ALIGN) * ALIGN);
    const values: Record<string, number | readonly number[]> = {};
    for (const [name, value] of Object.entries(params)) {
      values[name] = value instanceof Tensor ? 0 : value;
      if (!(value instanceof Tensor)) continue;
      const { offset: at, type } = layout.fields[name]!;
      const index = this.#index.get(value)!;
      this.scalars.push({
        label,
        name,
        offset: offset + at,
        index,
        type,
        atMost: atMost[name] ?? Number.POSITIVE_INFINITY,
      });
    }
    pack(label, layout, values, new DataView(bytes.buffer));
    this.#chunks.push(bytes);
    this.#size += bytes.byteLength;
    return { offset, size: layout.size };
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.#size);
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.byteLength;
    }
    return all;
  }
}

/** `matmul+add+gelu f32 [2, 77, 512]`: what a step is called in traces and errors. */
const labelOf = ({ root, members, producer, prologue }: Group) => {
  const ops = [
    ...(prologue?.members ?? []),
    ...(producer ? [producer] : []),
    ...(members.length > 0 ? members : [root]),
  ];
  return `${ops.map((t) => t.op!.name).join('+')} ${root.dtype} [${root.shape.join(', ')}]`;
};

/** The kernels of a graph in order, and where their tensors lie. Needs no device. */
export function draft(graph: Graph, capabilities: Capabilities) {
  const parts = groups(graph)
    .filter((g) => g.root.size > 0)
    .flatMap((g) => drafts(g, capabilities));
  const all = join(parts, capabilities);
  const accesses = all.map(({ parts }) => ({
    reads: parts.flatMap(({ dispatch }) => Object.values(dispatch.bindings).map((t) => t.base)),
    writes: parts.map(({ group }) => group.root),
  }));
  return { all, ...assignSlots(graph, accesses) };
}

/** Floating point operations of a kernel; those of an elementwise chain are its elements. */
export function flopsOf({ producer, root }: Group): number {
  const worker = producer ?? root;
  return worker.op!.flops?.(worker.inputs as Tensor[], worker, worker.attrs) ?? worker.size;
}

/** Plans a graph on a device. Compiles what is not compiled yet; allocates nothing. */
export async function makePlan(graph: Graph, device: Device): Promise<Plan> {
  const { all, place, slots } = draft(graph, device.capabilities);
  const params = new Params(graph.scalars);
  const steps = all.map(async ({ parts, stacked }): Promise<Step> => {
    const label = parts.map(({ group }) => labelOf(group)).join(stacked ? ', ' : ' | ');
    const counts = parts.map(({ dispatch }) => dispatch.groups);
    const pieces = parts.map(({ shader, dispatch: { bindings, groups } }) => ({
      ...{ shader, tensors: bindings, groups: groups as number },
    }));
    const { shader, from } = parts.length > 1 ? writeJoint(pieces, stacked) : { shader: parts[0]!.shader };
    const buffers: Step['buffers'] = [];
    const uniforms: Step['uniforms'] = [];
    for (const { name: own, binding, of } of shader.bindings) {
      const { piece, name } = from?.get(own) ?? { piece: 0, name: of?.name ?? own };
      const { dispatch, chain } = parts[piece]!;
      if (name === 'p')
        uniforms.push({ binding, ...params.add(label, dispatch.shader.params!, dispatch.params, dispatch.atMost) });
      else if (name === 'c') uniforms.push({ binding, ...params.add(label, chain!.layout, chain!.params) });
      else if (dispatch.bindings[name]) {
        const size = pieceBytes(device.capabilities);
        buffers.push({ binding, place: place(dispatch.bindings[name].base), offset: (of?.piece ?? 0) * size, size });
      } else throw new Error(`[${label}] binding '${name}' was not given`);
    }
    const sum = (of: (part: Part) => number) => parts.reduce((n, part) => n + of(part), 0);
    return {
      label,
      buffers,
      uniforms,
      groups: fold(parts.length === 1 || stacked ? counts[0]! : (counts as number[]).reduce((a, b) => a + b)),
      bytes: sum(({ dispatch }) =>
        Object.values(dispatch.bindings).reduce((n, t) => n + Math.min(t.base.nbytes, t.nbytes), 0),
      ),
      flops: sum(({ group }) => flopsOf(group)),
      pipeline: await device.pipeline(shader, label),
    };
  });
  return { steps: await Promise.all(steps), slots, params: params.bytes(), scalars: params.scalars };
}
