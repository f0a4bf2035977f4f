// A function of tensors, recorded once for each set of shapes and replayed afterwards: no graph is built again.
import type { Device } from '../gpu/device.ts';
import { isContiguous, show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type Graph, trace } from './graph.ts';
import { Replay } from './replay.ts';
import { DeviceStorage, deviceOf, leafStorage, prepare, serial, settle, takeOver } from './run.ts';

export type Argument = Tensor | number;
/** What the recorded function gets: numbers arrive as 0-d tensors whose value may differ at each call. */
type Recorded<A extends readonly Argument[]> = { [K in keyof A]: Tensor };
type Result = Tensor | readonly Tensor[] | Readonly<Record<string, Tensor>>;

type Recording = {
  graph: Graph;
  /** For each leaf and scalar of the graph the argument it is, or the captured tensor itself. */
  leaves: (number | Tensor)[];
  scalars: (number | Tensor)[];
  /** Puts tensors in the place of the recorded results. */
  build: (of: (recorded: Tensor) => Tensor) => Result;
};

/**
 * `const step = compile((x, t) => model(x).mul(t)); const y = await step(image, 0.5)`. The function runs once for each
 * set of shapes and types of its arguments; later calls replay its plan with new values. It must do nothing but record ops.
 */
export function compile<A extends readonly Argument[], R extends Result>(
  fn: (...args: Recorded<A>) => R,
): (...args: A) => Promise<R> {
  const recordings = new Map<string, Recording>();
  return async (...args) => {
    const signature = args.map((a) => (a instanceof Tensor ? `${a.dtype}${show(a.shape)}` : 'number')).join();
    let recording = recordings.get(signature);
    if (!recording) recordings.set(signature, (recording = record(fn as (...args: Tensor[]) => R, args)));
    const whole = args.map((a) => (a instanceof Tensor && isView(a) ? a.contiguous() : a));
    const tensors = whole.filter((a): a is Tensor => a instanceof Tensor);
    await prepare(tensors);
    return (await serial(() => call(recording, whole))) as R;
  };
}

const isView = (t: Tensor) => t.base !== t || !isContiguous(t.shape, t.layout);

function record(fn: (...args: Tensor[]) => Result, args: readonly Argument[]): Recording {
  const stand = args.map((a) =>
    a instanceof Tensor
      ? new Tensor({ shape: a.shape, dtype: a.dtype })
      : new Tensor({ shape: [], dtype: 'f32', scalar: a }),
  );
  const result = fn(...stand);
  const made = new Map<Tensor, Tensor>();
  const keep = (t: Tensor) => {
    made.set(t, t.contiguous());
    return t;
  };
  const build = shapeOf(result, keep);
  const results = new Set([...made.values()].map((t) => t.base));
  const graph = trace([...results]);
  if (graph.writes.some(({ node }) => !results.has(node))) {
    throw new Error('[compile] a tensor that is overwritten must be among the results: it is the only handle left');
  }
  const argument = (t: Tensor) => (stand.includes(t) ? stand.indexOf(t) : t);
  return {
    graph,
    leaves: graph.leaves.map(argument),
    scalars: graph.scalars.map(argument),
    build: (of) => build((t) => of(made.get(t)!)),
  };
}

/** Calls `keep` on each tensor of a result and gives back what rebuilds it from others. */
function shapeOf(result: Result, keep: (t: Tensor) => Tensor): (of: (t: Tensor) => Tensor) => Result {
  if (result instanceof Tensor) {
    keep(result);
    return (of) => of(result);
  }
  if (Array.isArray(result)) {
    result.map(keep);
    return (of) => result.map(of);
  }
  const entries = Object.entries(result as Record<string, Tensor>);
  for (const [, t] of entries) keep(t);
  return (of) => Object.fromEntries(entries.map(([name, t]) => [name, of(t)]));
}

async function call({ graph, leaves, scalars, build }: Recording, args: readonly Argument[]): Promise<Result> {
  const given = leaves.map((l) => (typeof l === 'number' ? (args[l] as Tensor) : l.base));
  const values = scalars.map((s) => (typeof s === 'number' ? (args[s] as number) : s.scalar!));
  const device: Device = await deviceOf(given);
  const buffers = given.map((t) => leafStorage(t, device).buffer);
  const replay = await Replay.of(graph, device);
  const outputs = await replay.run(buffers, values);
  const taken = new Map<Tensor, Tensor>();
  return build((recorded) => {
    const base = recorded.base;
    const index = graph.leaves.indexOf(base);
    if (index >= 0) return given[index]!.reshape(recorded.shape);
    const known = taken.get(base);
    if (known) return known.reshape(recorded.shape);
    const t = new Tensor({ shape: recorded.shape, dtype: recorded.dtype });
    const write = graph.writes.find(({ node }) => node === base);
    if (write) takeOver(t, given[graph.leaves.indexOf(write.target)]!);
    else settle(t, new DeviceStorage(device, outputs[graph.outputs.indexOf(base)]!));
    taken.set(base, t);
    return t;
  });
}
