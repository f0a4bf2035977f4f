// Sending the steps of a plan to the queue, in pieces short enough for a driver's watchdog and for an abort between them.
import type { Device } from '../gpu/device.ts';
import type { Step } from './plan.ts';

export type Piece = { from: number; to: number };

const SECONDS = 0.1; // of one piece, as estimated; drivers give up after about 2
const DISPATCHES = 512; // of one piece: an encoder holds them all
const AHEAD = 2; // pieces in the queue when an abort is looked for

/** Rates that any adapter of its kind reaches: floating point operations and bytes a second, seconds to a dispatch. */
const SOFTWARE = { flops: 4e9, bytes: 4e9, dispatch: 5e-6 };
const GPU = { flops: 1e12, bytes: 1e11, dispatch: 2e-6 };

/** Cuts a list of steps where the estimated time of a piece is up. */
export function pieces(steps: readonly Pick<Step, 'flops' | 'bytes'>[], software: boolean): Piece[] {
  const rate = software ? SOFTWARE : GPU;
  const cut: Piece[] = [];
  let seconds = Number.POSITIVE_INFINITY;
  for (const [i, { flops, bytes }] of steps.entries()) {
    const took = Math.max(flops / rate.flops, bytes / rate.bytes) + rate.dispatch;
    const last = cut.at(-1);
    if (last && seconds + took <= SECONDS && i - last.from < DISPATCHES) {
      last.to = i + 1;
      seconds += took;
    } else {
      cut.push({ from: i, to: i + 1 });
      seconds = took;
    }
  }
  return cut;
}

/**
 * Submits all pieces, at once unless there is a signal: then few are ahead of the device, and an abort between two throws
 * its reason. The first is submitted before anything is awaited.
 */
export async function submit(
  { gpu, counters }: Device,
  steps: readonly Step[],
  groups: readonly GPUBindGroup[],
  cut: readonly Piece[],
  signal?: AbortSignal,
): Promise<void> {
  const done: Promise<unknown>[] = [];
  for (const [k, { from, to }] of cut.entries()) {
    if (signal && k >= AHEAD) await done[k - AHEAD];
    signal?.throwIfAborted();
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = from; i < to; i++) {
      const { pipeline, groups: grid } = steps[i]!;
      pass.setPipeline(pipeline.gpu);
      pass.setBindGroup(0, groups[i]!);
      pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
    }
    pass.end();
    gpu.queue.submit([encoder.finish()]);
    counters.dispatches += to - from;
    counters.submits++;
    if (signal && k + AHEAD < cut.length) done.push(gpu.queue.onSubmittedWorkDone().catch(() => {})); // a loss is told by the read
  }
}
