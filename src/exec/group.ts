// Which nodes share a kernel: chains of elementwise ops become one, and one behind a kernel becomes its epilogue.
import { isFloat } from '../tensor/dtype.ts';
import { isContiguous } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Graph } from './graph.ts';

/** Elementwise nodes in order, the last of them the root, and what they read. */
export type Elementwise = { root: Tensor; members: Tensor[]; leaves: Tensor[] };
/**
 * A kernel to run. `producer` is the node whose kernel the members end, if any. Without members the root has a kernel of its
 * own, which may compute one of its inputs by a `prologue`.
 */
export type Group = Elementwise & { producer?: Tensor; prologue?: Elementwise };

export const STORAGE_BUFFERS = 8; // per stage, the WebGPU default that every adapter has
const EPILOGUE_BUFFERS = 2; // beside those of the kernel itself
const PROLOGUE_BUFFERS = 4; // in the place of one of them
const MAX_MEMBERS = 64; // drivers compile long functions in more than linear time; ops and their gradients have about 20

/** True when element i of the view is element i of what it shows. */
const isIdentity = (t: Tensor): boolean => t.base.size === t.size && isContiguous(t.shape, t.layout);

/** A node made from its index alone. */
export const isGenerator = (t: Tensor): boolean => !!t.op?.map && t.inputs.length === 0;

/** Groups in an order that runs. Nodes are looked at backwards, so every consumer of a node has its group before it. */
export function groups(graph: Graph): Group[] {
  const consumers = new Map<Tensor, Tensor[]>();
  const inOrder = new Set(graph.nodes); // read element by element, in order, by elementwise nodes alone
  for (const t of graph.nodes) {
    for (const x of t.inputs) {
      const known = consumers.get(x.base);
      if (known) known.push(t);
      else consumers.set(x.base, [t]);
      if (!isIdentity(x) || !t.op!.map) inOrder.delete(x.base);
    }
  }
  const outputs = new Set(graph.outputs);
  for (const t of outputs) inOrder.delete(t);

  const stored = (t: Tensor) => outputs.has(t) || consumers.get(t)!.some((c) => !c.op!.map);

  const groupOf = new Map<Tensor, Group>();
  const made: Group[] = [];
  for (let k = graph.nodes.length - 1; k >= 0; k--) {
    const t = graph.nodes[k]!;
    if (isGenerator(t) && !stored(t)) continue;
    const [group, other] = new Set(consumers.get(t)?.map((c) => groupOf.get(c)!));
    const alone = group && !other && inOrder.has(t);
    if (alone && t.op!.map && absorb(group, t)) groupOf.set(t, group);
    else if (group && !other && !outputs.has(t) && startsIn(t, group, consumers.get(t)!)) groupOf.set(t, group);
    else if (alone && endsIn(t, group)) {
      group.producer = t;
      groupOf.set(t, group);
    } else {
      const own: Group = { root: t, members: t.op!.map ? [t] : [], leaves: t.op!.map ? distinct(t.inputs) : [] };
      groupOf.set(t, own);
      made.push(own);
    }
  }
  return made.reverse();
}

const distinct = (tensors: readonly Tensor[]) => [...new Set(tensors)];

/** How many buffers the leaves of a group take, without `but`. */
const buffers = (leaves: readonly Tensor[], but?: Tensor) =>
  leaves.filter((x) => x.base.scalar === null && x.base !== but && !isGenerator(x.base)).length;

/** Takes an elementwise node into the group that reads it, if there is room and the buffers suffice. */
function absorb(group: Group, t: Tensor): boolean {
  const { producer, prologue } = group;
  const chain = prologue ?? group;
  if (chain.members.length >= MAX_MEMBERS) return false;
  const leaves = distinct([...chain.leaves.filter((x) => x.base !== t), ...t.inputs]);
  const room = producer ? EPILOGUE_BUFFERS : prologue ? PROLOGUE_BUFFERS : STORAGE_BUFFERS - 1;
  if (buffers(leaves, producer) > room) return false;
  chain.leaves = leaves;
  chain.members.unshift(t);
  return true;
}

/** Makes an elementwise node the prologue of the one kernel that reads it, once and in order. */
function startsIn(t: Tensor, group: Group, [reader, ...more]: readonly Tensor[]): boolean {
  const leaves = distinct(t.inputs);
  const fits =
    more.length === 0 &&
    reader === group.root &&
    group.members.length === 0 &&
    !group.prologue &&
    reader.op!.prologue?.some((i) => reader.inputs[i]!.base === t && isIdentity(reader.inputs[i]!)) &&
    t.op!.map !== undefined &&
    !isGenerator(t) &&
    isFloat(t.dtype) &&
    buffers(leaves) <= PROLOGUE_BUFFERS;
  if (fits) group.prologue = { root: t, members: [t], leaves };
  return fits === true;
}

/** Whether the kernel of `t` can end in the group: floats, and whole quads where f16 is written. */
function endsIn(t: Tensor, group: Group): boolean {
  const { root, leaves, producer, prologue } = group;
  if (producer || prologue || !t.op!.epilogue || !isFloat(root.dtype)) return false;
  if (root.dtype === 'f16' && t.shape.at(-1)! % 4 !== 0) return false;
  return buffers(leaves, t) <= EPILOGUE_BUFFERS;
}
