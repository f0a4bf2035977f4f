// What an op states about itself. Shared code asks nothing else of it.
import type { Dispatch } from '../exec/kernel.ts';
import type { Capabilities } from '../gpu/device.ts';
import type { ShaderSource } from '../gpu/shader.ts';
import type { DType } from './dtype.ts';
import type { Layout, Shape } from './shape.ts';
import { Tensor } from './tensor.ts';

// biome-ignore lint/suspicious/noExplicitAny: attributes are each op's own record
export type Attrs = Record<string, any>;

/** Saved tensors of a backward: `x[i]` for the inputs and `y` for the output that `saves` names, the attributes. */
export type Saved = { x: Tensor[]; y: Tensor; attrs: Attrs };
export type Backward = (dy: Tensor, saved: Saved) => Tensor;

export type Op = {
  name: string;
  /** Elementwise: the function of a family shader that it is. */
  map?: { shader: ShaderSource; fn: string };
  /** A view: no kernel, only another layout of the same storage. */
  view?: boolean;
  /** It writes into the storage of its first input and takes that over: older handles go stale. */
  overwrites?: boolean;
  /** Its kernel calls `epilogue(v, i)` on what it writes, so an elementwise chain behind it may become part of it. */
  epilogue?: boolean;
  /** The kernels to run, from operands whose layouts are known. */
  dispatch?: (x: Tensor[], y: Tensor, attrs: Attrs, capabilities: Capabilities) => Dispatch[];
  /** Floating point operations of one run, for traces and benches. */
  flops?: (x: Tensor[], y: Tensor, attrs: Attrs) => number;
  /** What the backward reads: numbers of inputs and 'y'. */
  saves?: readonly (number | 'y')[];
  /** The gradient of each input, or null where there is none. */
  backward: readonly (Backward | null)[] | null;
};

export type Result = { shape: Shape; dtype: DType; layout?: Layout };

/** A function that records a node of this op. `infer` checks the inputs and states the result. */
export function op<A extends Attrs = Attrs>(definition: Op, infer: (x: Tensor[], attrs: A) => Result) {
  return (inputs: Tensor[], attrs: A = {} as A): Tensor => {
    const { shape, dtype, layout } = infer(inputs, attrs);
    return new Tensor({ op: definition, inputs, attrs, shape, dtype, layout });
  };
}
