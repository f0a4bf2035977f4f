// What ran: one line for each dispatch, with its grid, bytes and time. Off unless asked for.
import type { Device } from '../gpu/device.ts';
import { checkOptions, describe } from '../tensor/check.ts';
import type { Graph } from './graph.ts';
import type { Step } from './plan.ts';

export type TraceEvent =
  | { type: 'plan'; nodes: number; cached: boolean }
  | { type: 'dispatch'; label: string; groups: readonly number[]; bytes: number; flops: number; us: number };

let listener: ((event: TraceEvent) => void) | undefined;

/** Calls `listener` for every plan and dispatch; each dispatch is then waited for, so a traced run is slow. */
export function setTrace(to: ((event: TraceEvent) => void) | undefined): void {
  if (to !== undefined && typeof to !== 'function') {
    throw new TypeError(`[setTrace] listener: got ${describe(to)}, want a function, or nothing to end it`);
  }
  listener = to;
}

/** The line a terminal shows of an event. */
export function formatTrace(event: TraceEvent): string {
  checkOptions('formatTrace', event, "{ type: 'plan', nodes: 3, cached: true }", 'event');
  if (event.type === 'plan') return `plan: ${event.nodes} nodes, ${event.cached ? 'from the cache' : 'new'}`;
  const { label, groups, bytes, flops, us } = event;
  if (event.type !== 'dispatch' || !Array.isArray(groups)) {
    throw new TypeError(
      `[formatTrace] event: got ${describe(event)} of type ${describe(event.type)}, want what setTrace tells`,
    );
  }
  const rates = `${(bytes / us / 1e3).toFixed(2)} GB/s ${(flops / us / 1e3).toFixed(2)} GFLOP/s`;
  return `${us.toFixed(0).padStart(8)} us  ${rates.padStart(26)}  ${groups.join('x').padEnd(12)} ${label}`;
}

/** What a replay reports to, if anything listens. */
export function tracer() {
  const tell = listener;
  if (!tell) return undefined;
  return {
    plan: (graph: Graph, cached: boolean) => tell({ type: 'plan', nodes: graph.nodes.length, cached }),
    async run(device: Device, steps: readonly Step[], groups: readonly GPUBindGroup[], signal?: AbortSignal) {
      const { gpu, counters } = device;
      for (const [i, step] of steps.entries()) {
        signal?.throwIfAborted();
        const encoder = gpu.createCommandEncoder();
        const pass = encoder.beginComputePass();
        pass.setPipeline(step.pipeline.gpu);
        pass.setBindGroup(0, groups[i]!);
        pass.dispatchWorkgroups(...step.groups);
        pass.end();
        await gpu.queue.onSubmittedWorkDone();
        const start = performance.now();
        gpu.queue.submit([encoder.finish()]);
        await gpu.queue.onSubmittedWorkDone();
        const us = (performance.now() - start) * 1e3;
        counters.dispatches++;
        const { label, bytes, flops } = step;
        tell({ type: 'dispatch', label, groups: step.groups, bytes, flops, us });
      }
      device.check();
    },
  };
}
