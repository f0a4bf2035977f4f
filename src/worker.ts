// dist/worker.js: one task for the page that started this worker (tasks/remote.ts).
import { setDevice } from './exec/run.ts';
import type { DeviceChoice } from './gpu/device.ts';
import { UserError } from './io/error.ts';
import type { FromPretrained } from './io/pretrained.ts';
import { pipeline, type Task } from './tasks/pipeline.ts';
import {
  type Ask,
  type Change,
  METHODS,
  type Method,
  PROPERTY,
  packError,
  packResult,
  type ToPage,
  type ToWorker,
  unpack,
  unpackCallbacks,
} from './tasks/wire.ts';
import type { Tensor } from './tensor/tensor.ts';

type Running = Awaited<ReturnType<typeof pipeline>>;
type Options = Omit<FromPretrained, 'device'> & { device?: DeviceChoice };

const running = new Map<number, AbortController>();
/** By the call: who waits to hear whether the page wants more of its stream. */
const waiting = new Map<number, (more: boolean) => void>();
let task: Promise<Running>;

const post = (message: ToPage) => postMessage(message);

async function open(
  lock: string,
  base: string,
  name: Task,
  model: string,
  { device, ...options }: Options,
  changes: Change[],
) {
  hold(lock);
  const { fetch } = globalThis; // relative addresses are the page's, not the script's
  globalThis.fetch = (input, init) =>
    fetch(typeof input === 'string' && URL.canParse(input, base) ? new URL(input, base) : input, init);
  if (device) await setDevice(device);
  const task = await pipeline(name, model, options);
  for (const change of changes) await repeat(name, task, change);
  return task;
}

/** Does again what was done to the task in a worker before this one. */
async function repeat(name: Task, task: Running, { method, args }: Change): Promise<void> {
  try {
    await invoke(task, method, args);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const lost = `the worker had to be started again, and what ${method} had done is lost: ${error.message}`;
    throw new UserError(`[${name}] ${lost}. Dispose of the task and open it again`);
  }
}

/** Takes a lock until this worker ends, however it ends: the page waits for it. (No event tells of that.) */
function hold(lock: string): void {
  const started = () => post({ tessera: 'started' });
  const forever = () => new Promise<never>(started);
  Promise.resolve()
    .then(() => navigator.locks.request(lock, forever))
    .catch(started); // a page without locks
}

/** What the page shows of a task: its data, and of the model what says which it is. */
function about(task: Running) {
  const { model, ...rest } = task;
  const data = Object.entries(rest).filter(([, value]) => typeof value !== 'function');
  const { name, config, unused, device } = model;
  const shown = { ...Object.fromEntries(data), model: { name, config, unused, device: { adapter: device.adapter } } };
  return { shown, methods: METHODS.filter((name) => name in rest), [PROPERTY]: Object(task)[PROPERTY] };
}

/** Calls the task or a method of it, or sets its property. */
function invoke(task: Running, method: Ask['method'], args: unknown[]): unknown {
  if (method === PROPERTY) return void Object.assign(task, { [PROPERTY]: args[0] });
  type Called = (...args: unknown[]) => unknown;
  const called = method ? (task as unknown as Record<Method, Called>)[method] : (task as Called);
  return called(...args);
}

/**
 * Calls the task or a method of it. What that streams is sent piece by piece, each when the page has taken the one before;
 * after an abort nobody is waited for, and the task says what becomes of it.
 */
async function call({ id, method }: Ask, task: Running, args: unknown[], signal: AbortSignal): Promise<unknown> {
  const result = invoke(task, method, args);
  if (!(Symbol.asyncIterator in Object(result))) return result;
  for await (const piece of result as AsyncGenerator) {
    const value = await packResult(piece);
    const wanted = new Promise<boolean>((resolve) => waiting.set(id, resolve));
    post({ tessera: 'next', id, value });
    if (!signal.aborted && !(await wanted)) break;
  }
  return undefined;
}

addEventListener('message', async ({ data }: MessageEvent<ToWorker>) => {
  const { id } = data;
  if (data.tessera === 'abort') {
    running.get(id)?.abort();
    return waiting.get(id)?.(true);
  }
  if (data.tessera === 'next') return waiting.get(id)?.(data.more);
  const controller = new AbortController();
  const { signal } = controller;
  const { tessera, signalAt, aborted } = data;
  const called = (at: number, args: unknown[]) => post({ tessera: 'called', id, at, args });
  const given: Tensor[] = [];
  if (aborted) controller.abort();
  running.set(id, controller);
  try {
    const args = unpack(unpackCallbacks(data.args, called), (t) => given.push(t)) as unknown[];
    if (signalAt >= 0) args[signalAt] = { ...(args[signalAt] as object), signal };
    if (tessera === 'open') task = open(...(args as Parameters<typeof open>));
    const ready = await task;
    const result = tessera === 'open' ? about(ready) : await call(data, ready, args, signal);
    post({ tessera: 'done', id, result: await packResult(result) });
  } catch (error) {
    post({ tessera: 'failed', id, aborted: signal.aborted && error === signal.reason, ...packError(error) });
  } finally {
    for (const t of given) t.dispose();
    running.delete(id);
    waiting.delete(id);
  }
});
addEventListener('messageerror', () => {
  throw new Error('a message cannot be read here: is it too large?'); // and cannot be answered: the page gives this worker up
});
