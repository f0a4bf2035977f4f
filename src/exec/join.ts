// Small kernels that need not wait for one another share a dispatch: side by side, workgroups of one behind those of the
// other; or stacked, where one reads what the same thread of the other has just written. A token's products, rotations and
// writes take a GPU less time than to begin the next dispatch.

import { elementOf, type Shader } from '../gpu/shader.ts';
import { isContiguous } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type Chain, workgroupOf } from './fuse.ts';
import type { Group } from './group.ts';
import type { Dispatch } from './kernel.ts';

export type Part = { dispatch: Dispatch; chain?: Chain; shader: Shader; group: Group };
/** What one dispatch runs. */
export type Joint = { parts: Part[]; stacked: boolean };

const ELEMENTS = 2 ** 15; // that a part writes at most: larger ones fill a device by themselves
const NEAR = 32; // dispatches before it in which a part looks for its place
const STORAGE_BUFFERS = 8; // of a stage, the WebGPU default that every adapter has

const workerOf = ({ group }: Part): Tensor => group.producer ?? group.root;
const shares = (part: Part): boolean => workerOf(part).op!.shares?.(workerOf(part).inputs) === true;
/** The buffers of some parts, each with the types of elements that it is bound as. */
function buffersOf(parts: readonly Part[]): Map<Tensor, Set<string>> {
  const all = new Map<Tensor, Set<string>>();
  for (const { dispatch, shader } of parts) {
    for (const [name, { base }] of Object.entries(dispatch.bindings)) {
      const types = all.get(base) ?? new Set();
      all.set(base, types.add(elementOf(shader, name)));
    }
  }
  return all;
}
const suffice = (parts: readonly Part[]) =>
  [...buffersOf(parts).values()].reduce((n, types) => n + types.size, 0) <= STORAGE_BUFFERS;

/** Kernels in an order that runs, as dispatches in an order that runs. */
export function join(kernels: readonly Part[]): Joint[] {
  const joints: Joint[] = [];
  const count = new Map<Group, number>(); // kernels of a group: several write the same tensor
  for (const { group } of kernels) count.set(group, (count.get(group) ?? 0) + 1);
  const writer = new Map<Tensor, number>();
  for (const part of kernels) {
    const { root } = part.group;
    const needs = [
      ...Object.values(part.dispatch.bindings).map((t) => t.base),
      ...(root.op!.overwrites ? [root.inputs[0]!.base] : []),
    ];
    const after = Math.max(-1, ...needs.map((t) => writer.get(t) ?? -1)); // the last that it waits for
    let at = joints.length;
    if (count.get(part.group) === 1 && isSmall(part)) {
      const from = Math.max(after + 1, joints.length - NEAR);
      const beside = joints.findIndex((joint, i) => i >= from && fitsBeside(joint, part));
      if (beside >= 0) at = beside;
      else if (after >= 0 && fitsOn(joints[after]!, part)) at = after;
    }
    const joint = joints[at];
    if (!joint) joints.push({ parts: [part], stacked: false });
    else {
      joint.stacked = at === after;
      joint.parts.push(part);
    }
    writer.set(root, at);
  }
  return joints;
}

const isSmall = ({ dispatch, shader, group: { root } }: Part): boolean =>
  !shader.bindings.some(({ of }) => of) && // of no tensor in several bindings
  typeof dispatch.groups === 'number' &&
  (root.op!.overwrites ? root.inputs[1]! : root).size <= ELEMENTS;

function fitsBeside({ parts, stacked }: Joint, part: Part): boolean {
  return (
    !stacked &&
    (shares(part) || parts.some(shares)) &&
    parts.every(isSmall) &&
    workgroupOf(parts[0]!.shader) === workgroupOf(part.shader) &&
    suffice([...parts, part])
  );
}

/** Whether each thread of `part` reads of the one kernel before it what its own number there has written, and nothing else. */
function fitsOn({ parts: [first, ...more] }: Joint, part: Part): boolean {
  if (!first || more.length > 0 || !shares(part) || !isSmall(first)) return false;
  const [below, above] = [workerOf(first), workerOf(part)];
  const { root } = first.group;
  const read = Object.values(part.dispatch.bindings).filter((t) => t.base === root);
  const sameGrid =
    below.op === above.op &&
    JSON.stringify([first.dispatch.changes, first.dispatch.groups]) ===
      JSON.stringify([part.dispatch.changes, part.dispatch.groups]);
  const own = part.chain?.bindings ?? {};
  return (
    sameGrid &&
    `${below.shape}` === `${above.shape}` &&
    read.length === 1 &&
    Object.values(own).includes(read[0]!) &&
    isContiguous(read[0]!.shape, read[0]!.layout) &&
    buffersOf([first, part]).get(root)!.size === 1 &&
    suffice([first, part])
  );
}
