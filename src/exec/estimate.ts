// What a run would take, from shapes alone: no device, nothing compiled, no values.
import type { Capabilities } from '../gpu/device.ts';
import { sizeClass } from '../gpu/pool.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { trace } from './graph.ts';
import { growth } from './memory.ts';
import { draft, flopsOf } from './plan.ts';

export type Estimate = {
  /** Kernels to run, and their floating point operations. */
  dispatches: number;
  flops: number;
  /** Bytes that the pool gives to tensors that only live during the run, also by slot, and to its results. */
  intermediate_bytes: number;
  slots: number[];
  output_bytes: number;
};

/** Bytes of the intermediates of several runs, one after the other, which share slots: all that are made for them. */
export function sharedBytes(runs: readonly Estimate[]): number {
  let slots: number[] = [];
  let bytes = 0;
  for (const run of runs) {
    const { made, spare } = growth(slots, run.slots);
    slots = [...slots.slice(0, slots.length - spare), ...made].sort((a, b) => b - a);
    bytes += made.reduce((a, b) => a + b, 0);
  }
  return bytes;
}

const GPU: Capabilities = { software: false, subgroupSize: 0, maxBinding: Number.POSITIVE_INFINITY };

/** The estimate of computing some tensors in one run. Leaves need no values. */
export function estimate(outputs: readonly Tensor[], capabilities = GPU): Estimate {
  const graph = trace([...new Set(outputs.map((t) => t.base))]);
  const { all, slots } = draft(graph, capabilities);
  const sizes = slots.map(sizeClass);
  const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
  return {
    dispatches: all.length,
    flops: sum([...new Set(all.flatMap(({ parts }) => parts.map(({ group }) => group)))].map(flopsOf)),
    intermediate_bytes: sum(sizes),
    slots: sizes,
    output_bytes: sum(graph.outputs.map((t) => sizeClass(t.nbytes))),
  };
}
