// Small kernels that need not wait for one another share a dispatch: side by side, workgroups of one behind those of the
// other; or stacked, where one reads what the same thread of the other has just written. A token's products, rotations and
// writes take a GPU less time than to begin the next dispatch; there larger ones do so too where they read or write the same
// (queries, keys and values; the parts of a concatenation).
import type { Capabilities } from '../gpu/device.ts';
import { elementOf, type Shader } from '../gpu/shader.ts';
import { isContiguous } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type Chain, workgroupOf } from './fuse.ts';
import { type Group, STORAGE_BUFFERS } from './group.ts';
import type { Dispatch } from './kernel.ts';

export type Part = { dispatch: Dispatch; chain?: Chain; shader: Shader; group: Group };
/** What one dispatch runs. */
export type Joint = { parts: Part[]; stacked: boolean };

/** Elements that a part writes at most: larger ones fill a device by themselves, and would wait for each other in memory. */
const ELEMENTS = { software: 2 ** 15, gpu: 2 ** 22 };
const NEAR = 32; // dispatches before it in which a part looks for its place

const workerOf = ({ group }: Part): Tensor => group.producer ?? group.root;
const isTiny = (part: Part): boolean => workerOf(part).op!.tiny?.(workerOf(part).inputs) === true;
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
/** Whether there are few enough buffers, and what is written is bound once. */
function suffice(parts: readonly Part[]): boolean {
  const all = buffersOf(parts);
  const count = [...all.values()].reduce((n, types) => n + types.size, 0);
  return count <= STORAGE_BUFFERS && parts.every(({ group }) => (all.get(group.root)?.size ?? 1) === 1);
}
/** Whether two kernels of one op share a tensor, and else read only what is there anyway, so that nothing waits in memory. */
function meet(a: Part, b: Part): boolean {
  const { op } = workerOf(a);
  if (workerOf(b).op !== op || !(op!.joins || op!.apart)) return false; // of copies the results would wait
  if (a.group === b.group) return true;
  const known = new Set(Object.values(a.dispatch.bindings).map((t) => t.base));
  const read = Object.values(b.dispatch.bindings).flatMap(({ base }) => (base === b.group.root ? [] : [base]));
  return read.some((t) => known.has(t)) && read.every((t) => known.has(t) || t.op === null);
}

/** Kernels in an order that runs, as dispatches in an order that runs. */
export function join(kernels: readonly Part[], { software }: Pick<Capabilities, 'software'>): Joint[] {
  const joints: Joint[] = [];
  const count = new Map<Group, number>(); // kernels of a group: several write the same tensor
  for (const { group } of kernels) count.set(group, (count.get(group) ?? 0) + 1);
  const writer = new Map<Tensor, number>();
  for (const part of kernels) {
    const { root } = part.group;
    const isApart = workerOf(part).op!.apart === true;
    const needs = [
      ...Object.values(part.dispatch.bindings).flatMap(({ base }) => (isApart && base === root ? [] : [base])),
      ...(root.op!.overwrites ? [root.inputs[0]!.base] : []),
    ];
    const after = Math.max(-1, ...needs.map((t) => writer.get(t) ?? -1)); // the last that it waits for
    let at = joints.length;
    if ((isApart || count.get(part.group) === 1) && isSmall(part, software)) {
      const from = Math.max(after + 1, joints.length - NEAR);
      const beside = joints.findIndex((joint, i) => i >= from && fitsBeside(joint, part, software));
      if (beside >= 0) at = beside;
      else if (after >= 0 && fitsOn(joints[after]!, part, software)) at = after;
    }
    const joint = joints[at];
    if (!joint) joints.push({ parts: [part], stacked: false });
    else {
      joint.stacked = at === after;
      joint.parts.push(part);
    }
    writer.set(root, Math.max(at, writer.get(root) ?? -1));
  }
  return joints;
}

function isSmall(part: Part, software: boolean): boolean {
  const { dispatch, shader, group } = part;
  const written = group.root.op!.overwrites ? group.root.inputs[1]! : group.root;
  const fits = written.size <= ELEMENTS[software ? 'software' : 'gpu'];
  const isInPieces = shader.bindings.some(({ of }) => of); // a tensor in several bindings
  return (
    !isInPieces && typeof dispatch.groups === 'number' && (fits || (!software && workerOf(part).op!.apart === true))
  );
}

function fitsBeside({ parts, stacked }: Joint, part: Part, software: boolean): boolean {
  return (
    !stacked &&
    (isTiny(part) || parts.some((other) => isTiny(other) || (!software && meet(other, part)))) &&
    parts.every((other) => isSmall(other, software)) &&
    workgroupOf(parts[0]!.shader) === workgroupOf(part.shader) &&
    suffice([...parts, part])
  );
}

/** Whether each thread of `part` reads of the one kernel before it what its own number there has written, and nothing else. */
function fitsOn({ parts: [first, ...more] }: Joint, part: Part, software: boolean): boolean {
  const may = software ? isTiny(part) : workerOf(part).op!.joins === true;
  if (!first || more.length > 0 || !may || !isSmall(first, software)) return false;
  const [below, above] = [workerOf(first), workerOf(part)];
  const { root } = first.group;
  const read = Object.values(part.dispatch.bindings).filter((t) => t.base === root);
  const placesOf = ({ attrs }: Tensor, { changes, groups }: Dispatch) => JSON.stringify([attrs, changes, groups]);
  const samePlaces = below.op === above.op && placesOf(below, first.dispatch) === placesOf(above, part.dispatch);
  const own = part.chain?.bindings ?? {};
  return (
    samePlaces &&
    `${below.shape}` === `${above.shape}` &&
    read.length === 1 &&
    Object.values(own).includes(read[0]!) &&
    isContiguous(read[0]!.shape, read[0]!.layout) &&
    buffersOf([first, part]).get(root)!.size === 1 &&
    suffice([first, part])
  );
}
