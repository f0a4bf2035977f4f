// Both ends of a worker in one process: what becomes of a stream there whose reader is gone, and of a task whose worker is.
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { DDIMScheduler, Tensor } from '../../src/index.ts';
import type { ToPage, ToWorker } from '../../src/tasks/wire.ts';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A task in the worker: each piece takes a while, and is told of before it comes. */
const streams = vi.hoisted(() => ({ open: 0, pieces: 0 }));
/** Files that the worker no longer finds, and tensors that it was given. */
const files = vi.hoisted(() => ({ gone: [] as string[] }));
const given = vi.hoisted(() => ({ tensors: [] as { storage: { disposed: boolean } | null }[] }));
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
  /** Says which state the task is in; adapters and the rest are lists of what was called. */
  async function pipeline() {
    const { tensor, UserError, DDIMScheduler } = await import('../../src/index.ts');
    const loras: string[] = [];
    const state = { scheduler: new DDIMScheduler({}), active: '', tiled: false };
    const call = async (prompt: string, { latents }: { latents?: Tensor } = {}) => {
      if (latents) given.tensors.push(latents);
      const { steps_offset } = task.scheduler.config;
      return { loras: [...loras], ...state, scheduler: steps_offset, prompt, latents: await latents?.tolist() };
    };
    const task = Object.assign(call, {
      ...{ model, stream, scheduler: state.scheduler },
      async load_lora_weights(file: string) {
        if (files.gone.includes(file)) throw new UserError(`[${file}] no such file`);
        loras.push(file);
        state.active = file;
      },
      set_adapters: (name: string) => void (state.active = name),
      unload_lora_weights: () => void loras.splice(0),
      enable_vae_tiling: () => void (state.tiled = true),
      disable_vae_tiling: () => void (state.tiled = false),
      invert: async () => ({ latents: tensor([[1, 2, 3]]).mul(2) }),
    });
    return Object.defineProperty(task, 'scheduler', { enumerable: false });
  }
  return { pipeline };
});

type Task = {
  (prompt: string, options?: object): Promise<object>;
  stream(options: object): AsyncGenerator<number>;
  invert(): Promise<{ latents: Tensor }>;
  load_lora_weights(file: string, options?: object): Promise<void>;
  set_adapters(name: string): Promise<void>;
  unload_lora_weights(): Promise<void>;
  enable_vae_tiling(): Promise<void>;
  scheduler: DDIMScheduler;
};
let remote: (task: string, model: unknown, options: { worker: string }) => Promise<unknown>;
let page: typeof import('../../src/index.ts');
let task: Task;
const open = async () => (await remote('any', null, { worker: 'worker.js' })) as Task;
/** The worker that was started last; each has its modules for itself. */
let worker: EventTarget;
const kill = () => worker.dispatchEvent(Object.assign(new Event('error'), { message: 'killed' }));
beforeAll(async () => {
  let listener: (event: { data: ToWorker }) => void;
  class Line extends EventTarget {
    readonly #hear: Promise<typeof listener>;
    constructor() {
      super();
      worker = this;
      vi.resetModules(); // setup.ts has the pipeline as it is
      this.#hear = import('../../src/worker.ts').then(() => listener);
    }
    async postMessage(message: ToWorker): Promise<void> {
      const data = structuredClone(message);
      const hear = await this.#hear;
      setTimeout(() => hear({ data }));
    }
    terminate(): void {}
  }
  vi.stubGlobal('Worker', Line);
  vi.stubGlobal('navigator', {}); // without locks
  vi.stubGlobal('location', { href: 'https://example.invalid/' });
  vi.stubGlobal('addEventListener', (type: string, heard: typeof listener) => {
    if (type === 'message') listener = heard;
  });
  vi.stubGlobal('postMessage', (message: ToPage) => {
    const [data, to] = [structuredClone(message), worker];
    setTimeout(() => to.dispatchEvent(new MessageEvent('message', { data })));
  });
  page = await import('../../src/index.ts');
  ({ remote } = await import('../../src/tasks/remote.ts'));
  task = await open();
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

test('a tensor that came from the worker goes back there, and nothing of it stays', async () => {
  const { latents } = await task.invert();
  const found = await Promise.all([task('a', { latents }), task('b')]);
  expect(found).toMatchObject([{ prompt: 'a', latents: [[2, 4, 6]] }, { prompt: 'b' }]);
  const half = page.tensor([1, 2]).mul(0.5);
  const sum = half.add(1); // computed here
  expect(await task('c', { latents: sum })).toMatchObject({ latents: [1.5, 2] });
  expect(await sum.tolist()).toEqual([1.5, 2]); // and still there
  const going = task('d', { latents: sum });
  sum.dispose();
  expect(await going).toMatchObject({ latents: [1.5, 2] });
  await expect(task('e', { latents: sum })).rejects.toThrow('was disposed');
  expect(given.tensors).toHaveLength(3);
  for (const { storage } of given.tensors) expect(storage?.disposed).toBe(true);
});

test('calls arrive in their order, however long a tensor takes', async () => {
  const latents = page.tensor([1]).add(1);
  const first = task('a', { latents });
  await Promise.all([first, task.set_adapters('later')]);
  expect(await first).toMatchObject({ active: '' });
  expect(await task('b')).toMatchObject({ active: 'later' });
});

test('a worker that takes the place of another has what was changed in that one', async () => {
  const own = await open();
  const { signal } = new AbortController();
  await own.load_lora_weights('one', { signal });
  await own.load_lora_weights('two');
  await own.set_adapters('none');
  await own.set_adapters('one');
  await own.enable_vae_tiling();
  const scheduler = page.DDIMScheduler.from_config({ ...own.scheduler.config, steps_offset: 1 });
  own.scheduler = scheduler;
  expect(own.scheduler).toBe(scheduler);
  files.gone.push('three');
  await expect(own.load_lora_weights('three')).rejects.toThrow('[three] no such file');
  const before = { loras: ['one', 'two'], active: 'one', tiled: true, scheduler: 1 };
  expect(await own('a')).toMatchObject(before);
  const lost = own.invert();
  kill();
  await expect(lost).rejects.toThrow('[any] the worker failed (killed): call again');
  expect(await own('a')).toMatchObject(before);
  await own.unload_lora_weights();
  kill();
  files.gone.push('one');
  expect(await own('a')).toMatchObject({ loras: [], tiled: true }); // what was taken out is not looked for
});

test('or says what is lost', async () => {
  const own = await open();
  await own.load_lora_weights('four');
  kill();
  files.gone.push('four');
  const text =
    '[any] the worker had to be started again, and what load_lora_weights had done is lost: [four] no such file. ' +
    'Dispose of the task and open it again';
  await expect(own('a')).rejects.toThrow(text);
  await expect(own('a')).rejects.toThrow(text); // never a picture without it
  files.gone.pop();
  expect(await own('a')).toMatchObject({ loras: ['four'] });
});

test('a scheduler that cannot be there is told at the next call, until it is set to one that can', async () => {
  const own = await open();
  const other = page.DDIMScheduler.from_config(own.scheduler.config);
  own.scheduler = Object.assign(page.DDIMScheduler.from_config(other.config), {
    config: { ...other.config, _class_name: 'OwnScheduler' },
  });
  const text = '_class_name "OwnScheduler": want one of DDIMScheduler';
  await expect(own('a')).rejects.toThrow(text); // never a picture by the one before
  await expect(own('b')).rejects.toThrow(text);
  own.scheduler = other;
  expect(await own('c')).toMatchObject({ prompt: 'c', scheduler: other.config.steps_offset });
});
