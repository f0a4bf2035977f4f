// A function of tensors, recorded once for each set of shapes and replayed afterwards: no graph is built again.
import type { Device } from '../gpu/device.ts';
import { describe } from '../tensor/check.ts';
import { show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type Graph, trace } from './graph.ts';
import { withRoom } from './reclaim.ts';
import { Replay } from './replay.ts';
import {
  claim,
  DeviceStorage,
  deviceOf,
  isLost,
  leafStorage,
  type RunOptions,
  revive,
  run,
  settle,
  takeOver,
} from './run.ts';
import { serial } from './serial.ts';

const MAX_RECORDINGS = 64; // of one function; the least recently used goes first

export type Argument = Tensor | number;
/** What the recorded function gets: numbers arrive as 0-d tensors whose value may differ at each call. */
type Recorded<A extends readonly Argument[]> = { [K in keyof A]: Tensor };
type Result = Tensor | readonly Tensor[] | Readonly<Record<string, Tensor>>;

let epoch = 0;
/** What recorded functions take from outside has changed in kind: each is recorded again before its next run. */
export const rerecord = (): void => {
  epoch++;
};

let recording = 0;
/** Whether a function is being recorded: its tensors stand for others and have no values. */
export const isRecording = (): boolean => recording > 0;

type Recording = {
  graph: Graph;
  epoch: number;
  /** For each leaf and scalar of the graph the argument it is, or the captured tensor itself. */
  leaves: (number | Tensor)[];
  scalars: (number | Tensor)[];
  /** Puts tensors in the place of the recorded results. */
  build: (of: (recorded: Tensor) => Tensor) => Result;
};

/** What `compile` gives: called with the arguments, or with `run(arguments, { signal })`, which an abort stops in the middle. */
export type Compiled<A extends readonly Argument[], R> = ((...args: A) => Promise<R>) & {
  run(args: A, options?: Pick<RunOptions, 'signal'>): Promise<R>;
};

/**
 * `const step = compile((x, t) => model(x).mul(t)); const y = await step(image, 0.5)`. The function runs once for each
 * set of shapes and types of its arguments; later calls replay its plan with new values. It must do nothing but record
 * ops. What it records without its arguments is computed once. A result that is an argument is that argument; any other is
 * the caller's own, to be disposed of without harm to later calls.
 */
export function compile<A extends readonly Argument[], R extends Result>(
  fn: (...args: Recorded<A>) => R,
): Compiled<A, R> {
  if (typeof fn !== 'function') throw new TypeError(`[compile] fn: got ${describe(fn)}, want a function of tensors`);
  const recordings = new Map<string, Promise<Recording>>();
  /** The recording for a signature, made once however many calls want it. */
  const recorded = async (signature: string, args: A): Promise<Recording> => {
    for (;;) {
      const known = recordings.get(signature);
      const made = known ?? record(fn as (...args: Tensor[]) => R, args);
      recordings.delete(signature);
      recordings.set(signature, made); // most recently used last
      if (recordings.size > MAX_RECORDINGS) recordings.delete(recordings.keys().next().value!);
      const forget = () => {
        if (recordings.get(signature) === made) recordings.delete(signature);
      };
      const recording = await made.catch((error) => {
        forget();
        throw error;
      });
      if (!known || (recording.epoch === epoch && !recording.graph.leaves.some(isLost))) return recording;
      forget();
    }
  };
  const replay = async (args: A, { signal }: Pick<RunOptions, 'signal'> = {}): Promise<R> => {
    signal?.throwIfAborted();
    for (let i = 0; i < Math.max(args.length, fn.length); i++) {
      if (args[i] instanceof Tensor || typeof args[i] === 'number') continue;
      throw new TypeError(`[compile] argument ${i}: got ${describe(args[i])}, want a tensor or a number`);
    }
    const signature = args.map((a) => (a instanceof Tensor ? `${a.dtype}${show(a.shape)}` : 'number')).join();
    const recording = await recorded(signature, args);
    await revive([...recording.graph.leaves, ...args.filter((a) => a instanceof Tensor)]);
    const whole = args.map((a) => (a instanceof Tensor ? a.contiguous() : a));
    const tensors = whole.filter((a) => a instanceof Tensor).map((t) => t.base);
    const device = await deviceOf([...recording.graph.leaves, ...tensors]);
    try {
      await run(tensors, { device });
      return (await serial(() => withRoom(device, () => call(recording, whole, device, signal)))) as R;
    } finally {
      for (const [i, t] of whole.entries()) {
        const given = args[i]!;
        if (t instanceof Tensor && given instanceof Tensor && t.base !== given.base) t.dispose(); // a copy of a view
      }
    }
  };
  return Object.assign((...args: A) => replay(args), { run: replay });
}

async function record(fn: (...args: Tensor[]) => Result, args: readonly Argument[]): Promise<Recording> {
  const began = epoch;
  const stand = args.map((a) =>
    a instanceof Tensor
      ? new Tensor({ shape: a.shape, dtype: a.dtype })
      : new Tensor({ shape: [], dtype: 'f32', scalar: a }),
  );
  const made = new Map<Tensor, Tensor>();
  recording++;
  const result = (() => {
    try {
      return fn(...stand);
    } finally {
      recording--;
    }
  })();
  const build = shapeOf(result, (t) => made.set(t, t.contiguous()));
  const results = new Set([...made.values()].map((t) => t.base));
  const whole = trace([...results]);
  const given = args.filter((a) => a instanceof Tensor).map((t) => t.base);
  await revive(whole.leaves);
  await run(constants(whole, new Set(stand)), { device: await deviceOf([...whole.leaves, ...given]) });
  const graph = trace([...results]);
  if (graph.writes.some(({ node }) => !results.has(node))) {
    throw new Error('[compile] a tensor that is overwritten must be among the results: it is the only handle left');
  }
  const argument = (t: Tensor) => (stand.includes(t) ? stand.indexOf(t) : t);
  return {
    graph,
    epoch: began,
    leaves: graph.leaves.map(argument),
    scalars: graph.scalars.map(argument),
    build: (of) => build((t) => of(made.get(t)!)),
  };
}

/** The nodes that need no argument and are read by one that does, or are results. */
function constants({ nodes, outputs }: Graph, stand: ReadonlySet<Tensor>): Tensor[] {
  const varies = new Set<Tensor>(stand);
  for (const t of nodes) if (t.inputs.some((x) => varies.has(x.base))) varies.add(t);
  const read = nodes.filter((t) => varies.has(t)).flatMap((t) => t.inputs.map((x) => x.base));
  return [...new Set([...read, ...outputs])].filter((t) => t.op && t.inputs.length > 0 && !varies.has(t));
}

/** Calls `keep` on each tensor of a result and gives back what rebuilds it from others. */
function shapeOf(result: Result, keep: (t: Tensor) => void): (of: (t: Tensor) => Tensor) => Result {
  const list = result instanceof Tensor ? [result] : Object.values(result ?? {});
  if (list.length === 0 || !list.every((t) => t instanceof Tensor)) {
    const got = describe(result);
    throw new TypeError(`[compile] result: got ${got}, want a tensor, a list of tensors, or an object of them`);
  }
  for (const t of list) keep(t);
  if (result instanceof Tensor) return (of) => of(result);
  if (Array.isArray(result)) return (of) => result.map(of);
  return (of) => Object.fromEntries(Object.entries(result).map(([name, t]) => [name, of(t)]));
}

async function call(
  recording: Recording,
  args: readonly Argument[],
  device: Device,
  signal?: AbortSignal,
): Promise<Result> {
  const { graph, leaves, scalars, build } = recording;
  const given = leaves.map((l) => (typeof l === 'number' ? (args[l] as Tensor).base : l));
  const values = scalars.map((s) => (typeof s === 'number' ? (args[s] as number) : s.scalar!));
  const replay = await Replay.of(graph, device);
  const undo: (() => void)[] = [];
  const ran = async () => {
    const buffers = given.map((t) => leafStorage(t, device, undo).buffer);
    for (const { target } of graph.writes) {
      const t = given[graph.leaves.indexOf(target)]!;
      if (given.indexOf(t) !== given.lastIndexOf(t)) throw new Error(`[compile] ${t} is overwritten, and given twice`);
      claim(t);
    }
    return { buffers, outputs: await replay.run(buffers, values, signal) };
  };
  const { buffers, outputs } = await ran().catch((error) => {
    for (const takeBack of undo) takeBack();
    throw error;
  });
  const taken = new Map<Tensor, Tensor>();
  return build((recorded) => {
    const base = recorded.base;
    const index = graph.leaves.indexOf(base);
    if (typeof leaves[index] === 'number') return given[index]!.reshape(recorded.shape);
    const known = taken.get(base);
    if (known) return known.reshape(recorded.shape);
    const t = new Tensor({ shape: recorded.shape, dtype: recorded.dtype });
    const write = graph.writes.find(({ node }) => node === base);
    if (write) takeOver(t, given[graph.leaves.indexOf(write.target)]!);
    else {
      const constant = buffers[index];
      const buffer = constant ? device.pool.share(constant) : outputs[graph.outputs.indexOf(base)]!;
      settle(t, new DeviceStorage(device, buffer));
    }
    taken.set(base, t);
    return t;
  });
}
