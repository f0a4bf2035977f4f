// A tensor: shape, dtype, and the node that computes it. Nothing runs until its data is asked for.
import { byteLength, type DType, type TypedArray } from './dtype.ts';
import type { Fluent } from './fluent.ts';
import type { Attrs, Op } from './op.ts';
import { contiguousLayout, type Layout, numel, type Shape, show } from './shape.ts';

/** Device memory of one tensor and its views. */
export interface Storage {
  readonly disposed: boolean;
  dispose(): void;
}

/** What exec attaches: computing tensors and reading them back. */
export type Runtime = {
  run(tensors: readonly Tensor[]): Promise<void>;
  read(tensor: Tensor): Promise<TypedArray>;
};
let runtime: Runtime | undefined;
export const attachRuntime = (r: Runtime): void => {
  runtime = r;
};

type Node = {
  shape: Shape;
  dtype: DType;
  op?: Op;
  inputs?: readonly Tensor[];
  attrs?: Attrs;
  layout?: Layout | undefined;
  base?: Tensor;
  host?: TypedArray;
  fill?: number;
  scalar?: number;
};

const SHOWN = 16; // elements that a console shows
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: ops/index.ts attaches every op as a method; see fluent.ts
export class Tensor {
  readonly shape: Shape;
  readonly dtype: DType;
  /** Where the elements lie in the storage of `base`. */
  readonly layout: Layout;
  /** The tensor whose storage this one shows: itself, or the one it is a view of. */
  readonly base: Tensor;
  /** What computes it, until it is computed. */
  op: Op | null;
  inputs: readonly Tensor[];
  readonly attrs: Attrs;
  /** Values that wait to be uploaded. */
  host: TypedArray | null;
  /** The one f32 value of a leaf that no array was made for. */
  readonly fill: number | null;
  /** The value of a 0-d leaf that goes into kernels as a parameter: never part of a plan's key. */
  readonly scalar: number | null;
  /** Whether an op made its values; the parents are then forgotten. */
  computed = false;
  /** Composites whose values these are: they forget their parents with it. */
  composites: Tensor[] = [];
  /** Set on a base once its values are on a device. */
  storage: Storage | null = null;

  constructor(node: Node) {
    this.shape = node.shape;
    this.dtype = node.dtype;
    this.op = node.op ?? null;
    this.inputs = node.inputs ?? [];
    this.attrs = node.attrs ?? {};
    this.host = node.host ?? null;
    this.fill = node.fill ?? null;
    this.scalar = node.scalar ?? null;
    this.layout = node.layout ?? contiguousLayout(node.shape);
    this.base = node.base ?? (this.op?.view ? this.inputs[0]!.base : this);
  }

  get rank(): number {
    return this.shape.length;
  }
  get size(): number {
    return numel(this.shape);
  }
  /** Bytes of its storage on a device. */
  get nbytes(): number {
    return byteLength(this.dtype, this.size);
  }

  /** Computes it and copies the values to the host: floats as Float32Array, i32, u32, bool as 0 and 1 in a Uint8Array. */
  data(): Promise<TypedArray> {
    if (!runtime) throw new Error('[tensor] data: import the engine from its index, which attaches the runtime');
    return runtime.read(this);
  }

  /** The value of a tensor with one element. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new RangeError(`[tensor] item: got shape ${show(this.shape)}, want one element`);
    return (await this.data())[0]!;
  }

  /** Values as nested arrays, booleans as such. */
  async tolist(): Promise<unknown> {
    const data = await this.data();
    const nest = (dim: number, at: number): unknown => {
      if (dim === this.rank) return this.dtype === 'bool' ? data[at] === 1 : data[at];
      const step = numel(this.shape.slice(dim + 1));
      return Array.from({ length: this.shape[dim]! }, (_, i) => nest(dim + 1, at + i * step));
    };
    return nest(0, 0);
  }

  /** Computes it on its device and forgets what it came from. */
  async realize(): Promise<this> {
    if (!runtime) throw new Error('[tensor] realize: import the engine from its index, which attaches the runtime');
    await runtime.run([this]);
    return this;
  }

  /**
   * Gives the storage back, that of its views too: using any of them afterwards throws. A tensor that has none yet is left
   * alone, so that what was recorded with it still runs.
   */
  dispose(): void {
    this.base.storage?.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    const what = this.op?.name ?? (this.storage ? 'computed' : 'data');
    return `${what} ${this.dtype} ${show(this.shape)}`;
  }
  /** JSON has no tensors: this throws, and says what to write in their place. */
  toJSON(): never {
    throw new TypeError(`[tensor] toJSON: got ${this}, want its values: JSON.stringify(await x.tolist())`);
  }
  /** What consoles show: one line with type, shape, where it is, and its values if they are few and on the host. */
  [INSPECT](): string {
    const { op, storage, host, fill, scalar } = this.base;
    const same = scalar ?? fill;
    const known = same === null ? host : Array.from({ length: Math.min(this.size, SHOWN + 1) }, () => same);
    let where = known ? 'on the host' : op ? `of ${op.name}, not computed yet` : 'without values yet';
    if (storage) where = storage.disposed ? 'disposed' : 'on the device';
    const values = known && this.base === this && !storage && this.size <= SHOWN ? `: ${known.join(', ')}` : '';
    return `Tensor ${this.dtype} ${show(this.shape)} ${where}${values}`;
  }
}
export interface Tensor extends Fluent {}
