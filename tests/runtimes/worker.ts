// A task in a worker of the page, beside the same task in the page itself. It takes dist/ as a page would.
import type { Progress } from '../../src/io/download.ts';
import type { InWorker } from '../../src/tasks/remote.ts';

type Options = { tokenizer: string };
/** What a promise came to: its value, or its error's name and message with the class that it is an instance of. */
type Outcome = string;

const LABELS = ['a cat', 'a dog', 'some thing'];
const TASK = 'zero-shot-image-classification';
const PICTURES = '/tests/goldens/cases/clip-processor';
const SCRIPT = new URL('/dist/worker.js', location.href).href;

const file = async (address: string, name: string) => new File([await (await fetch(address)).blob()], name);

/** The golden `clip` as a page's visitor gives it. */
async function tinyFiles({ tokenizer }: Options): Promise<File[]> {
  const size = { height: 30, width: 30 };
  const processor = { image_processor_type: 'CLIPImageProcessor', size: { shortest_edge: 30 }, crop_size: size };
  const words = { tokenizer_class: 'CLIPTokenizer', pad_token: '<end>', eos_token: '<end>' };
  const json = (name: string, value: object) => new File([JSON.stringify(value)], name);
  const golden = (name: string) => file(`/tests/goldens/cases/clip/${name}`, name);
  return [
    await golden('config.json'),
    await golden('model.safetensors'),
    new File([tokenizer], 'tokenizer.json'),
    json('tokenizer_config.json', words),
    json('preprocessor_config.json', processor),
  ];
}

/** Workers that were started here, so that one can be killed. */
const started: Worker[] = [];
globalThis.Worker = class extends Worker {
  constructor(url: string | URL, options?: WorkerOptions) {
    super(url, options);
    started.push(this);
  }
};
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
/** How many workers live, once they are `n` or do not become so. */
async function living(n: number): Promise<number> {
  for (let left = 50; ; left--) {
    const { held = [] } = await navigator.locks.query();
    const found = held.filter(({ name }) => name?.startsWith('tessera ')).length;
    if (found === n || left === 0) return found;
    await sleep(100);
  }
}

export async function main(options: Options) {
  const address = '/dist/browser.js'; // not part of this bundle
  const tessera = (await import(address)) as typeof import('../../src/index.ts');
  const { pipeline, UserError, OutOfMemory, DeviceLost } = tessera;
  const KNOWN = { UserError, OutOfMemory, DeviceLost, RangeError };
  const files = await tinyFiles(options);
  const outcome = (work: Promise<unknown>): Promise<Outcome> =>
    work.then(
      (value) => JSON.stringify(value),
      (error: Error) => {
        const [known] = Object.entries(KNOWN).find(([, kind]) => error instanceof kind) ?? ['Error'];
        return `${known}: ${error.name}: ${error.message}`;
      },
    );
  const events: Record<'here' | 'there', string[]> = { here: [], there: [] };
  const listen = (at: keyof typeof events) => (event: Progress) => {
    events[at].push(`${event.status} ${event.name} ${'loaded' in event ? event.loaded : ''}`);
  };
  const open = (more: Partial<InWorker> = {}) => pipeline(TASK, files, { worker: true, ...more });
  const here = await pipeline(TASK, files, { progress_callback: listen('here') });
  const there = await open({ progress_callback: listen('there') });
  type Call = Parameters<typeof here>;
  const bad = (more: object) => pipeline(TASK, 'dtype' in more ? files : files.slice(1), more);

  /** The same call on both sides: what each came to. */
  const both = async (...args: unknown[]) => [
    await outcome(here(...(args as Call))),
    await outcome(there(...(args as Call))),
  ];
  const png = await file(`${PICTURES}/portrait.png`, 'portrait.png');
  const bytes = new Uint8Array(await png.arrayBuffer());
  const pixels = await tessera.load_image(png);
  const padded = new Uint8Array(pixels.data.length + 64);
  padded.set(pixels.data, 32);
  const view = { ...pixels, data: padded.subarray(32, 32 + pixels.data.length) };
  const rgba = new Uint8ClampedArray(4 * 5 * 6).map((_, i) => (i * 37) % 256);
  const same = {
    blob: await both(new Blob([png]), LABELS),
    list: await both([png, bytes, bytes.buffer, pixels, view], LABELS, { batch_size: 2, hypothesis_template: 'so {}' }),
    image_data: await both(new ImageData(rgba, 5, 6), LABELS),
    address: await both(`${PICTURES}/landscape.png`.slice(1), LABELS), // relative to the page
    url: await both(new URL(`${PICTURES}/rgba.png`, location.href), LABELS),
    data_url: await both(`data:image/png;base64,${btoa(String.fromCharCode(...bytes))}`, LABELS),
    missing: await both('missing.png', LABELS),
    no_picture: await both(new Blob(['text']), LABELS),
    nothing: await both(null, LABELS),
    no_labels: await both(png, []),
    template: await both(png, LABELS, { hypothesis_template: 'none' }),
    at_once: (
      await Promise.all([here, there].map((task) => Promise.all([task(png, ['a', 'b']), task(bytes, ['c', 'd'])])))
    ).map((found) => JSON.stringify(found)),
    model: await Promise.all(
      [here, there].map(async ({ model, model_type, hypothesis_template }) => {
        const { name, config, unused, device } = model;
        return JSON.stringify([model_type, hypothesis_template, name, config, unused, device.adapter]);
      }),
    ),
    bad_model: await Promise.all([undefined, true as const].map((worker) => outcome(bad({ worker })))),
    bad_dtype: await Promise.all([undefined, true as const].map((worker) => outcome(bad({ worker, dtype: 'f64' })))),
  };
  const kept = [bytes.byteLength, pixels.data.byteLength, padded.byteLength, rgba.byteLength].every((size) => size > 0);

  const refused = {
    element: await outcome(there(new Image() as never, LABELS)),
    device: await outcome(open({ device: (await tessera.defaultDevice()) as never })),
    memory: await outcome(open({ device: { max_memory: 1000 } })),
    adapter: await outcome(open({ device: { adapter: 'none such' } })),
    missing_script: await outcome(open({ worker: '/dist/none.js' })),
    other_origin: await outcome(open({ worker: 'https://example.invalid/worker.js' })),
    callback: await outcome(
      open({
        progress_callback: () => {
          throw new RangeError('of the callback');
        },
      }),
    ),
  };

  // aborts: the reason comes back as it is, and only the worker's answer makes it so
  const why = { why: 'enough' };
  const many = (n: number) => Array.from({ length: n }, () => png);
  const long = (controller: AbortController, n = 3000) =>
    there(many(n), LABELS, { batch_size: 1, signal: controller.signal });
  const reasonOf = async (work: Promise<unknown>) =>
    (await work.then(
      () => 'done',
      (reason) => reason,
    )) === why;
  const [loading, calling, before] = [new AbortController(), new AbortController(), new AbortController()];
  const inLoad = reasonOf(
    open({ signal: loading.signal, progress_callback: ({ status }) => status === 'initiate' && loading.abort(why) }),
  );
  const inCall = reasonOf(long(calling));
  setTimeout(() => calling.abort(why), 100);
  before.abort(why);
  const aborted = [
    await inLoad,
    await inCall,
    await reasonOf(long(before, 1)),
    await reasonOf(open({ signal: before.signal })),
  ];
  const alive = [await living(1)]; // `there` alone

  // its end, by others and by itself
  const wanted = await outcome(here(png, LABELS));
  const dying = outcome(there(many(3000), LABELS, { batch_size: 1 }));
  await sleep(200);
  const before_kill = started.length;
  started[0]!.terminate();
  const killed = { call: await dying, next: await outcome(there(png, LABELS)), started: started.length - before_kill };

  const script = new Blob([`import ${JSON.stringify(SCRIPT)}`], { type: 'text/javascript' });
  const own = new Worker(URL.createObjectURL(script), { type: 'module' });
  const given = await open({ worker: own });
  const of_given = {
    relative: (await outcome(given(`${PICTURES}/portrait.png`.slice(1), LABELS))) === wanted,
    twice: await outcome(open({ worker: own })),
    killed: '',
    next: '',
  };
  const last = outcome(given(many(3000), LABELS, { batch_size: 1 }));
  await sleep(200);
  own.terminate();
  of_given.killed = await last;
  of_given.next = await outcome(given(png, LABELS));

  const pending = outcome(there(many(3000), LABELS, { batch_size: 1 }));
  alive.push(await living(1));
  there.dispose();
  const disposed = [await pending, await outcome(there(png, LABELS))];
  alive.push(await living(0));
  here.dispose();
  const right = killed.next === wanted;
  return { same, kept, events, refused, aborted, killed, right, of_given, disposed, alive };
}
