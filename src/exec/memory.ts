// Where every tensor of a plan lies: leaves and outputs have buffers of their own, what lives between shares slots.
import type { Tensor } from '../tensor/tensor.ts';
import type { Graph } from './graph.ts';

/** A leaf or an output of the graph by number, or a slot. */
export type Place = { of: 'leaf' | 'output' | 'slot'; index: number };

type Access = { reads: readonly Tensor[]; writes: Tensor };

/** Gives intermediates slots: a slot is free again after the last step that reads its tensor. */
export function assign(graph: Graph, steps: readonly Access[]): { place: (t: Tensor) => Place; slots: number[] } {
  const places = new Map<Tensor, Place>();
  for (const [index, t] of graph.leaves.entries()) places.set(t, { of: 'leaf', index });
  graph.outputs.forEach((t, index) => {
    if (!places.has(t)) places.set(t, { of: 'output', index });
  });
  const lastUse = new Map<Tensor, number>();
  steps.forEach(({ reads, writes }, i) => {
    for (const t of [...reads, writes]) lastUse.set(t, i);
  });

  const slots: number[] = []; // bytes
  const free: number[] = []; // slot numbers
  steps.forEach(({ reads, writes }, i) => {
    if (writes.op?.overwrites) places.set(writes, places.get(writes.inputs[0]!.base)!);
    else if (!places.has(writes)) places.set(writes, { of: 'slot', index: take(slots, free, writes.nbytes) });
    for (const t of new Set([...reads, writes])) {
      const place = places.get(t);
      if (lastUse.get(t) === i && place?.of === 'slot') free.push(place.index);
    }
  });
  return {
    slots,
    place: (t) => {
      const place = places.get(t);
      if (!place) throw new Error(`[run] ${t} is a number where a kernel wants a tensor: make it one by tensor(...)`);
      return place;
    },
  };
}

/** The free slot that fits best: the smallest that is large enough, else the largest, grown; else a new one. */
function take(slots: number[], free: number[], bytes: number): number {
  const waste = (slot: number) => (slots[slot]! >= bytes ? slots[slot]! - bytes : 2 ** 52 - slots[slot]!);
  let best = -1;
  free.forEach((slot, k) => {
    if (best < 0 || waste(slot) < waste(free[best]!)) best = k;
  });
  if (best < 0) return slots.push(bytes) - 1;
  const [slot] = free.splice(best, 1);
  slots[slot!] = Math.max(slots[slot!]!, bytes);
  return slot!;
}
