// Where every tensor of a plan lies: leaves and outputs have buffers of their own, what lives between shares slots.
import type { Tensor } from '../tensor/tensor.ts';
import type { Graph } from './graph.ts';

/** A leaf or an output of the graph by number, or a slot. */
export type Place = { of: 'leaf' | 'output' | 'slot'; index: number };

type Access = { reads: readonly Tensor[]; writes: readonly Tensor[] };
/** The steps, first and last, at which a tensor is needed. */
type Life = { from: number; to: number };

/**
 * Gives intermediates slots, the largest first: each takes the smallest slot that is free from the step that writes it to
 * the last that reads it, or a new one (greedy by size, Pisarchyk and Lee 2020, arXiv:2001.03288). Slots come out in
 * descending size, so those of several plans that share them match.
 */
export function assignSlots(graph: Graph, steps: readonly Access[]): { place: (t: Tensor) => Place; slots: number[] } {
  const places = new Map<Tensor, Place>();
  for (const [index, t] of graph.leaves.entries()) places.set(t, { of: 'leaf', index });
  graph.outputs.forEach((t, index) => {
    if (!places.has(t)) places.set(t, { of: 'output', index });
  });
  const lives = new Map<Tensor, Life>();
  steps.forEach(({ reads, writes }, i) => {
    for (const t of writes) {
      if (t.op?.overwrites) places.set(t, places.get(t.inputs[0]!.base)!);
      else if (!places.has(t) && !lives.has(t)) lives.set(t, { from: i, to: i });
    }
    for (const t of [...reads, ...writes]) {
      const life = lives.get(t);
      if (life) life.to = i;
    }
  });

  const slots: number[] = []; // bytes
  const taken: Life[][] = [];
  for (const [t, life] of [...lives].sort(([a], [b]) => b.nbytes - a.nbytes)) {
    let index = taken.findLastIndex((others) => others.every(({ from, to }) => to < life.from || from > life.to));
    if (index < 0) index = slots.push(t.nbytes) - 1;
    (taken[index] ??= []).push(life);
    places.set(t, { of: 'slot', index });
  }
  return {
    slots,
    place: (t) => {
      const place = places.get(t);
      if (!place) throw new Error(`[run] ${t} is a number where a kernel wants a tensor: make it one by tensor(...)`);
      return place;
    },
  };
}

/**
 * How slots (bytes, largest first) come to serve another plan, too: those to be made, and how many of the smallest go. What
 * is there serves again wherever it fits, so that models that take turns leave little behind.
 */
export function growth(slots: readonly number[], wanted: readonly number[]): { made: number[]; spare: number } {
  let next = 0;
  const made = wanted.filter((bytes) => {
    const fits = (slots[next] ?? 0) >= bytes;
    if (fits) next++;
    return !fits;
  });
  return { made, spare: slots.length + made.length - Math.max(slots.length, wanted.length) };
}
