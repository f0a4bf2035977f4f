// Both ends of a worker in one process: what becomes of a stream there whose reader is gone.
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { ToPage, ToWorker } from '../../src/tasks/wire.ts';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A task in the worker: each piece takes a while, and is told of before it comes. */
const streams = vi.hoisted(() => ({ open: 0, pieces: 0 }));
vi.mock('../../src/tasks/pipeline.ts', () => {
  type Options = { on_piece?: (i: number) => void; signal?: AbortSignal };
  async function* stream({ on_piece, signal }: Options) {
    streams.open++;
    try {
      for (let i = 0; i < 20; i++) {
        signal?.throwIfAborted();
        on_piece?.(i);
        await new Promise((resolve) => setTimeout(resolve, 20));
        streams.pieces++;
        yield i;
      }
    } finally {
      streams.open--;
    }
  }
  const model = { name: 'tiny', config: {}, unused: [], device: { adapter: {} } };
  return { pipeline: async () => Object.assign(async () => 'called', { model, stream }) };
});

type Task = { stream(options: object): AsyncGenerator<number> };
let task: Task;
beforeAll(async () => {
  let hear: (event: { data: ToWorker }) => void; // the worker's
  class Line extends EventTarget {
    postMessage(message: ToWorker): void {
      const data = structuredClone(message);
      setTimeout(() => hear({ data }));
    }
    terminate(): void {}
  }
  const worker = new Line();
  vi.stubGlobal('Worker', Line);
  vi.stubGlobal('navigator', {}); // without locks
  vi.stubGlobal('location', { href: 'https://example.invalid/' });
  vi.stubGlobal('addEventListener', (type: string, listener: typeof hear) => {
    if (type === 'message') hear = listener;
  });
  vi.stubGlobal('postMessage', (message: ToPage) => {
    const data = structuredClone(message);
    setTimeout(() => worker.dispatchEvent(new MessageEvent('message', { data })));
  });
  vi.resetModules(); // setup.ts has the pipeline as it is
  await import('../../src/worker.ts');
  const { remote } = await import('../../src/tasks/remote.ts');
  task = (await remote('any', null, { worker: worker as never })) as unknown as Task;
});
afterAll(() => void vi.unstubAllGlobals());
const ended = () => vi.waitFor(() => expect(streams.open).toBe(0));

test('what is streamed comes, piece by piece', async () => {
  const found: number[] = [];
  for await (const piece of task.stream({})) found.push(piece);
  expect(found).toEqual(Array.from({ length: 20 }, (_, i) => i));
  await ended();
});

test('a reader who leaves ends it', async () => {
  for await (const piece of task.stream({})) if (piece === 1) break;
  await ended();
});

test('so does a callback that throws while a piece is made', async () => {
  for (const last of [0, 1]) {
    streams.pieces = 0;
    const on_piece = (i: number) => {
      if (i === last) throw new RangeError('of the callback');
    };
    const read = async () => {
      for await (const _ of task.stream({ on_piece }));
    };
    await expect(read()).rejects.toThrow('of the callback');
    await ended();
    expect(streams.pieces).toBe(last + 1);
  }
});

test('and an abort, also where nobody asks for the next piece', async () => {
  const controller = new AbortController();
  const pieces = task.stream({ signal: controller.signal });
  expect(await pieces.next()).toEqual({ value: 0, done: false });
  await sleep(50);
  controller.abort('enough');
  await ended();
  await expect(pieces.next()).rejects.toBe('enough');
});
