// What a run would take, from shapes alone: no device, nothing compiled, no values.
import type { Capabilities } from '../gpu/device.ts';
import { sizeClass } from '../gpu/pool.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { trace } from './graph.ts';
import { draft, flopsOf } from './plan.ts';

export type Estimate = {
  /** Kernels to run, and their floating point operations. */
  dispatches: number;
  flops: number;
  /** Bytes that the pool gives to tensors that only live during the run, and to its results. */
  intermediate_bytes: number;
  output_bytes: number;
};

const GPU: Capabilities = { software: false, subgroupSize: 0 };

/** The estimate of computing some tensors in one run. Leaves need no values. */
export function estimate(outputs: readonly Tensor[], capabilities = GPU): Estimate {
  const graph = trace([...new Set(outputs.map((t) => t.base))]);
  const { all, slots } = draft(graph, capabilities);
  const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
  return {
    dispatches: all.length,
    flops: sum([...new Set(all.map(({ group }) => group))].map(flopsOf)),
    intermediate_bytes: sum(slots.map(sizeClass)),
    output_bytes: sum(graph.outputs.map((t) => sizeClass(t.nbytes))),
  };
}
