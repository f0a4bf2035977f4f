// dist/worker.js: one task for the page that started this worker (tasks/remote.ts).
import { setDevice } from './exec/run.ts';
import type { DeviceChoice } from './gpu/device.ts';
import type { FromPretrained } from './io/pretrained.ts';
import { pipeline, type Task } from './tasks/pipeline.ts';
import { packError, packTensors, type ToPage, type ToWorker, unpackCallbacks } from './tasks/wire.ts';

type Running = Awaited<ReturnType<typeof pipeline>>;
type Options = Omit<FromPretrained, 'device'> & { device?: DeviceChoice };

const running = new Map<number, AbortController>();
let task: Promise<Running>;

const post = (message: ToPage) => postMessage(message);

async function open(lock: string, base: string, name: Task, model: string, { device, ...options }: Options) {
  hold(lock);
  const { fetch } = globalThis; // relative addresses are the page's, not the script's
  globalThis.fetch = (input, init) =>
    fetch(typeof input === 'string' && URL.canParse(input, base) ? new URL(input, base) : input, init);
  if (device) await setDevice(device);
  return pipeline(name, model, options);
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
function about({ model, ...rest }: Running) {
  const data = Object.entries(rest).filter(([, value]) => typeof value !== 'function');
  const { name, config, unused, device } = model;
  return { ...Object.fromEntries(data), model: { name, config, unused, device: { adapter: device.adapter } } };
}

addEventListener('message', async ({ data }: MessageEvent<ToWorker>) => {
  const { tessera, id } = data;
  if (tessera === 'abort') return running.get(id)?.abort();
  const controller = new AbortController();
  const { signal } = controller;
  const { signalAt, aborted } = data;
  const called = (at: number, args: unknown[]) => post({ tessera: 'called', id, at, args });
  const args = unpackCallbacks(data.args, called) as unknown[];
  if (aborted) controller.abort();
  if (signalAt >= 0) args[signalAt] = { ...(args[signalAt] as object), signal };
  running.set(id, controller);
  try {
    if (tessera === 'open') task = open(...(args as Parameters<typeof open>));
    const called = await task;
    const result = tessera === 'open' ? about(called) : await (called as (...args: unknown[]) => unknown)(...args);
    post({ tessera: 'done', id, result: await packTensors(result) });
  } catch (error) {
    post({ tessera: 'failed', id, aborted: signal.aborted && error === signal.reason, ...packError(error) });
  } finally {
    running.delete(id);
  }
});
addEventListener('messageerror', () => {
  throw new Error('a message cannot be read here: is it too large?'); // and cannot be answered: the page gives this worker up
});
