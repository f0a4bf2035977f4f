// What an op states about itself. Shared code asks nothing else of it.
import type { Dispatch } from '../exec/kernel.ts';
import type { Capabilities } from '../gpu/device.ts';
import type { ShaderSource } from '../gpu/shader.ts';
import type { DType } from './dtype.ts';
import type { Layout, Shape } from './shape.ts';
import { Tensor } from './tensor.ts';

// biome-ignore lint/suspicious/noExplicitAny: attributes are each op's own record
export type Attrs = Record<string, any>;

/**
 * What a backward reads: `x[i]` for the inputs and `y` for the output that `saves` names, the attributes. `once` makes what
 * the rules of several inputs share.
 */
export type Saved = { x: Tensor[]; y: Tensor; attrs: Attrs; once<T>(make: () => T): T };
export type Backward<T = Tensor> = (dy: Tensor, saved: Saved) => T;

export type Op = {
  name: string;
  /** Elementwise: the function of a family shader that it is. */
  map?: { shader: ShaderSource; fn: string };
  /** A view: no kernel, only another layout of the same storage. */
  view?: boolean;
  /** It writes into the storage of its first input and takes that over: older handles go stale. */
  overwrites?: boolean;
  /** Its kernel calls `epilogue(v, i, column)` on what it writes, so an elementwise chain behind it may become part of it. */
  epilogue?: boolean;
  /** Inputs that its kernel reads once each, so an elementwise chain before may be computed as it is read. */
  prologue?: readonly number[];
  /** Whether its kernel is so small that it is worth sharing a dispatch with any other that need not wait for it. */
  tiny?: (x: readonly Tensor[]) => boolean;
  /**
   * Of any size it may share a dispatch of a GPU with others of this op: beside them, or stacked on one. What it reads of the
   * memory of a workgroup it reads before its last barrier: the next kernel of a stack may write there.
   */
  joins?: boolean;
  /** Whether its kernels write different elements, so that none waits for another. */
  apart?: boolean;
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

/**
 * Stands for `made`, a composition of the inputs, with a backward of its own: gradients see one node, which keeps only what
 * it saves, where those of the parts would keep every intermediate. Kernels see the parts.
 */
export function composite(
  definition: Pick<Op, 'name' | 'saves' | 'backward'>,
  inputs: readonly Tensor[],
  made: Tensor,
  attrs: Attrs = {},
): Tensor {
  const { shape, dtype, layout, base } = made;
  if (base.computed) return made;
  const t = new Tensor({ op: { ...definition, view: true }, inputs, attrs, shape, dtype, layout, base });
  base.composites.push(t);
  return t;
}
