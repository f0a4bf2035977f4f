// A task in a Web Worker, called from its page as if it were there. For pages; at the other end is ../worker.ts.
import { type Device, type DeviceChoice, DeviceLost } from '../gpu/device.ts';
import { UserError } from '../io/error.ts';
import type { FromPretrained, Pretrained } from '../io/pretrained.ts';
import { Generator } from './generator.ts';
import type { Scheduler } from './schedulers/index.ts';
import {
  type Ask,
  type Callback,
  CHANGES,
  type Change,
  type Method,
  PROPERTY,
  pack,
  packCallback,
  replace,
  type ToPage,
  type ToWorker,
  unpack,
  unpackError,
} from './wire.ts';

export type InWorker = Omit<FromPretrained, 'device'> & {
  /**
   * `true`: in a worker made of the file worker.js beside this one. Or the address of that file, or a new Worker that runs it
   * and is then this task's alone, to its end.
   */
  worker: true | string | URL | Worker;
  /** How the worker finds its device, as for `setDevice`. */
  device?: DeviceChoice | undefined;
};

/** What a page sees of a model in a worker. */
export type ModelInWorker = Pick<Pretrained<object>, 'name' | 'config' | 'unused'> & {
  device: Pick<Device, 'adapter'>;
};

type Remote = ((...args: unknown[]) => Promise<unknown>) & { dispose(): void; [Symbol.dispose](): void };
type Waiting = { resolve(result: unknown): void; reject(error: unknown): void; signal: AbortSignal | undefined };
/** One worker, from its start to its end. */
type Line = {
  ask(tessera: Ask['tessera'], args: unknown[], method?: Ask['method']): Promise<unknown>;
  stream(method: Method, args: unknown[]): AsyncGenerator;
  end(reason: unknown): void;
};
/** What a worker tells of its task. */
type About = { shown: object; methods: Method[]; scheduler: Scheduler | undefined };

type Signalled = { signal?: unknown } | null | undefined;

const PATIENCE = 60_000; // until the first sign of life
const taken = new WeakSet<Worker>();

/**
 * Opens `task` in a worker. What it is called with is copied, but for functions: they are called here, and what they give back
 * goes nowhere. Tensors go there and come back with their values, on the host. When the worker ends by itself, calls under way
 * throw a DeviceLost and the next starts another, with the task as it was: opened again, and changed as it had been. Throws a
 * UserError where none starts, or where it cannot be made what it was.
 */
export async function remote(task: string, model: unknown, options: InWorker): Promise<Remote> {
  const { worker, signal, ...rest } = options;
  signal?.throwIfAborted();
  const base = globalThis.document?.baseURI ?? location.href;
  /** How the task was changed since it was opened, for a worker that takes the place of another. */
  let changes: Change[] = [];
  let line: Line | undefined;
  let disposed: Error | undefined;

  function open(more: { signal?: AbortSignal | undefined } = {}): [Line, Promise<About>] {
    const lock = `tessera ${crypto.randomUUID?.()}`;
    const opened = connect(worker, task, lock, () => {
      line = undefined;
    });
    const args = [lock, base, task, model, { ...rest, ...more }, changes];
    const about = opened.ask('open', args) as Promise<About>;
    about.catch(opened.end);
    line = opened;
    return [opened, about];
  }
  const note = (change: Change) => {
    const over: readonly string[] = CHANGES[change.method];
    changes = [...changes.filter(({ method }) => !over.includes(method)), change];
  };
  const current = (): Line => {
    if (disposed) throw disposed;
    return line ?? open()[0];
  };
  const call = async (...args: unknown[]) => current().ask('call', args);
  const methodOf = (method: Method) =>
    method === 'stream'
      ? async function* (...args: unknown[]) {
          yield* current().stream(method, args);
        }
      : async (...args: unknown[]) => {
          const given = copyOf(args);
          const result = await current().ask('call', args, method);
          if (method in CHANGES) note({ method: method as Change['method'], args: given });
          return result;
        };
  const dispose = () => {
    disposed ??= new Error(`[${task}] was disposed and is used again`);
    line?.end(disposed);
  };
  const { shown, methods, ...about } = await open({ signal })[1];
  const own = Object.fromEntries(methods.map((method) => [method, methodOf(method)]));
  const made = Object.assign(call, shown, own, { dispose, [Symbol.dispose]: dispose });
  let value = about[PROPERTY];
  if (!value) return made;
  return Object.defineProperty(made, PROPERTY, {
    get: () => value,
    set(next: Scheduler) {
      value = next;
      note({ method: PROPERTY, args: [next] });
      line?.ask('call', [next], PROPERTY).catch(line.end); // never a picture by the one before: the next worker is opened with it
    },
  });
}

function connect(choice: InWorker['worker'], task: string, lock: string, onEnd: () => void): Line {
  const worker = start(choice);
  const waiting = new Map<number, Waiting>();
  const callbacks = new Map<number, Callback>(); // of progress as long as the worker lives: it may load again
  const streams = new Map<number, (value: unknown) => void>();
  const post = (message: ToWorker, moved: Transferable[] = []) => worker.postMessage(message, moved);
  let last = 0;
  let lastCallback = 0;
  let before: Promise<unknown> = Promise.resolve();
  let isStarted = false;
  let reason: unknown;

  function end(why: unknown): void {
    if (reason) return;
    reason = why;
    clearTimeout(timer);
    worker.terminate(); // its device goes with it
    onEnd();
    for (const { reject } of waiting.values()) reject(why);
  }
  const timer = setTimeout(() => end(notStarted(choice, `nothing came for ${PATIENCE / 1000} s`)), PATIENCE);
  const next = choice instanceof Worker ? 'make a new one and open the task again' : 'call again, and another starts';
  const died = (how: string) => end(new DeviceLost(`[${task}] the worker ${how}: ${next}`));
  const called = ({ id, at, args }: Extract<ToPage, { tessera: 'called' }>) => {
    try {
      callbacks.get(at)?.(...(args as never[]));
    } catch (error) {
      if (!waiting.has(id)) throw error;
      post({ tessera: 'abort', id });
      waiting.get(id)!.reject(error);
    }
  };
  const hear = (data: ToPage) => {
    clearTimeout(timer);
    if (data.tessera === 'called') return called(data);
    if (data.tessera === 'started') {
      isStarted = true;
      navigator.locks?.request(lock, () => died('ended before it answered')).catch(() => {});
      return;
    }
    if (data.tessera === 'next') return streams.get(data.id)?.(unpack(data.value));
    const { resolve, reject, signal } = waiting.get(data.id) ?? {};
    if (data.tessera === 'done') resolve?.(unpack(data.result));
    else reject?.(data.aborted ? signal?.reason : unpackError(data));
  };
  worker.addEventListener('message', ({ data }) => {
    try {
      if (data?.tessera) hear(data);
    } catch (error) {
      end(error); // of a callback
    }
  });
  worker.addEventListener('error', (event) => {
    event.preventDefault(); // the calls tell
    if (isStarted) died(`failed (${event.message})`);
    else end(notStarted(choice, event.message || 'its script cannot be loaded'));
  });

  async function ask(tessera: Ask['tessera'], args: unknown[], method?: Ask['method'], id = ++last): Promise<unknown> {
    const has = (arg: unknown, fits: (value: unknown) => boolean) => Object.values(arg ?? {}).some(fits);
    const withSignal = args.findIndex((arg) => (arg as Signalled)?.signal instanceof AbortSignal);
    const signal = (args[withSignal] as Signalled)?.signal as AbortSignal | undefined;
    // a callback that throws stops its call
    const signalAt = signal ? withSignal : args.findIndex((arg) => has(arg, (value) => typeof value === 'function'));
    const abort = () => post({ tessera: 'abort', id });
    const own: number[] = [];
    const keep = (callback: Callback) => {
      own.push(++lastCallback);
      callbacks.set(lastCallback, callback);
      return packCallback(lastCallback);
    };
    try {
      const moved: Transferable[] = [];
      const packed = pack(args.map((arg) => replace(arg, portable(moved, keep))));
      const turn = Promise.all([before, packed]); // calls arrive in their order, however long a tensor takes
      before = turn.catch(() => {});
      const sent = (await turn)[1] as unknown[];
      if (reason) throw reason;
      return await new Promise((resolve, reject) => {
        post({ tessera, id, method, args: sent, signalAt, aborted: signal?.aborted ?? false }, moved);
        waiting.set(id, { resolve, reject, signal });
        signal?.addEventListener('abort', abort);
      });
    } catch (error) {
      if (!(error instanceof DOMException && error.name === 'DataCloneError')) throw error;
      const want = 'texts, addresses, files, Blobs, bytes, pixels or ImageData, and as device how to find one';
      throw new UserError(`[${task}] something given cannot go to a worker: ${error.message} Want ${want}`);
    } finally {
      waiting.delete(id);
      if (tessera === 'call') for (const at of own) callbacks.delete(at);
      signal?.removeEventListener('abort', abort);
    }
  }
  /** The call lasts as long as its stream; each piece is asked for when the reader has taken the one before. */
  async function* stream(method: Method, args: unknown[]): AsyncGenerator {
    const id = ++last;
    let take: (piece?: { value: unknown }) => void = () => {};
    const arrival = () => new Promise<{ value: unknown } | undefined>((resolve) => (take = resolve));
    let next = arrival();
    streams.set(id, (value) => take({ value }));
    const call = ask('call', args, method, id);
    const ended = call.then(
      () => take(),
      () => take(),
    );
    try {
      for (let piece = await next; piece; piece = await next) {
        next = arrival();
        yield piece.value;
        post({ tessera: 'next', id, more: true });
      }
      await call;
    } finally {
      post({ tessera: 'next', id, more: false }); // where the reader left
      await ended;
      streams.delete(id);
    }
  }
  return { ask, stream, end };
}

function start(choice: InWorker['worker']): Worker {
  if (choice instanceof Worker) {
    if (taken.has(choice))
      throw new UserError('[pipeline] worker: got a Worker that had a task already, want a new one');
    taken.add(choice);
    return choice;
  }
  try {
    // in the form that bundlers look for
    if (choice === true) return new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
    return new Worker(choice, { type: 'module' });
  } catch (error) {
    throw notStarted(choice, (error as Error).message);
  }
}

function notStarted(choice: InWorker['worker'], why: string): UserError {
  const place = choice instanceof Worker ? 'the Worker given' : choice === true ? 'worker.js beside the code' : choice;
  return new UserError(
    `[pipeline] worker: got none from ${place} (${why}), want dist/worker.js of this package, on the page's origin and allowed by ` +
      'its Content-Security-Policy. From another origin: new Worker(URL.createObjectURL(new Blob([\'import "ADDRESS"\'], ' +
      "{ type: 'text/javascript' })), { type: 'module' })",
  );
}

/** Lists and plain objects as they are now. */
const copyOf = (args: unknown[]) => replace(args, () => undefined) as unknown[];

/** Copies what a clone refuses, or would copy with the whole buffer behind it. */
const portable = (moved: Transferable[], keep: (callback: Callback) => unknown) => (value: unknown) => {
  if (typeof value === 'function') return keep(value as Callback);
  if (value instanceof Generator) throw new UserError('[pipeline] a Generator cannot go to a worker: want seed');
  if (value instanceof URL) return value.href;
  if (value instanceof AbortSignal) return null; // the worker has one of its own
  if (!(value instanceof ArrayBuffer) && !(ArrayBuffer.isView(value) && 'slice' in value)) return undefined;
  const copy = (value as Uint8Array | ArrayBuffer).slice();
  moved.push(copy instanceof ArrayBuffer ? copy : (copy.buffer as ArrayBuffer));
  return copy;
};
