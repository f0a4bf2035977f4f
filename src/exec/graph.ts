// The graph behind some tensors: what has to run, what it starts from, and a key that names its structure.
import type { Tensor } from '../tensor/tensor.ts';

export type Graph = {
  /** What is asked for and has to be computed. */
  outputs: Tensor[];
  /** Nodes with a kernel, parents first. */
  nodes: Tensor[];
  /** Tensors that hold or receive values, in the order they are met. */
  leaves: Tensor[];
  /** 0-d leaves whose values are parameters. */
  scalars: Tensor[];
  /** Nodes that write into the storage of a leaf and take it over. */
  writes: { node: Tensor; target: Tensor }[];
  key: string;
};

const MOST = 2 ** 32 - 2 ** 16; // elements of a node, less what the last workgroup counts beyond
const LARGE = 20_000; // nodes; a training step of a large model has a few thousand
let warned = false;
let nextOp = 0;
const opIds = new WeakMap<object, number>();
const idOf = (op: object): number => {
  const known = opIds.get(op);
  if (known !== undefined) return known;
  opIds.set(op, nextOp);
  return nextOp++;
};

/** The last write into each leaf; whoever else wants the old values must have read them in an earlier run. */
function writes({ nodes }: Graph): Graph['writes'] {
  const writers = nodes.filter((t) => t.op!.overwrites);
  if (writers.length === 0) return [];
  const last = new Map<Tensor, Tensor>();
  for (const node of writers) {
    const old = node.inputs[0]!.base;
    const [target] = [...last].find(([, t]) => t === old) ?? [old];
    if (target.op) throw new Error(`[${node.op!.name}] ${target} is not computed yet: call its realize() first`);
    if (nodes.filter((t) => t.inputs.some((x) => x.base === old)).length > 1) {
      throw new Error(
        `[${node.op!.name}] ${old} is read and overwritten in one run: read the tensor that the write returns`,
      );
    }
    last.set(target, node);
  }
  return [...last].map(([target, node]) => ({ node, target }));
}

/** Walks from `outputs` to what is known. The key holds ops, shapes, types and layouts, never a scalar's value. */
export function trace(outputs: readonly Tensor[]): Graph {
  const index = new Map<Tensor, number>();
  const graph: Graph = { outputs: outputs.map((t) => t.base), nodes: [], leaves: [], scalars: [], writes: [], key: '' };
  const parts: string[] = [];
  const stack = [...graph.outputs];
  while (stack.length > 0) {
    const t = stack.at(-1)!;
    const isLeaf = t.op === null;
    const open = isLeaf || index.has(t) ? [] : t.inputs.map((x) => x.base).filter((x) => !index.has(x));
    if (open.length > 0) {
      stack.push(...open);
      continue;
    }
    stack.pop();
    if (index.has(t)) continue;
    index.set(t, index.size);
    if (!isLeaf) {
      if (t.size > MOST) {
        throw new RangeError(`[${t.op!.name}] ${t}: ${t.size} elements, and kernels count to 2^32; split the tensor`);
      }
      graph.nodes.push(t);
      const inputs = t.inputs.map((x) => `${index.get(x.base)}:${x.shape}:${x.layout.strides}:${x.layout.offset}`);
      parts.push(`${idOf(t.op!)}(${inputs.join(';')})${JSON.stringify(t.attrs)}${t.dtype}${t.shape}`);
    } else {
      (t.scalar !== null ? graph.scalars : graph.leaves).push(t);
      parts.push(`${t.scalar !== null ? 's' : 'l'}${t.dtype}${t.shape}`);
    }
  }
  parts.push(graph.outputs.map((t) => index.get(t)).join());
  graph.writes = writes(graph);
  graph.outputs = graph.outputs.filter((t) => t.op && !t.op.overwrites);
  graph.key = parts.join('|');
  if (graph.nodes.length > LARGE && !warned) {
    warned = true;
    console.warn(
      `[tensor] a graph of ${graph.nodes.length} pending nodes: is a loop adding to a tensor that is never computed? ` +
        'Call `await t.realize()` now and then.',
    );
  }
  return graph;
}
