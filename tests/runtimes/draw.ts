// The tiny Stable Diffusion of a golden case in a page and in a worker of it, which take dist/ as a page would.
import type { DDIMScheduler, DiffusionOptions, Picture, Tensor } from '../../src/index.ts';
import type { InvertOptions, Pipeline } from '../../src/tasks/stable-diffusion/pipelines.ts';

const CASE = '/tests/goldens/cases/stable-diffusion';
const FILES = ['model_index.json', 'scheduler/scheduler_config.json', 'text_encoder/config.json'];
const MORE = ['text_encoder/model.safetensors', 'tokenizer/tokenizer.json', 'tokenizer/tokenizer_config.json'];
const MODELS = ['unet', 'vae'].flatMap((part) => [
  `${part}/config.json`,
  `${part}/diffusion_pytorch_model.safetensors`,
]);

const LORA = `${CASE}/lora_kohya/pytorch_lora_weights.safetensors`;

/** What is common to a pipeline here and one in a worker. */
type Edited = Pick<Pipeline, 'scheduler'> & {
  (prompt: string, options: DiffusionOptions): Promise<{ images: Picture[] }>;
  invert(prompt: string, options: InvertOptions): Promise<{ latents: Tensor }>;
};
/** A picture inverted, and changed from there by other words. */
export async function edited(pipe: Edited, Scheduler: typeof DDIMScheduler, image: Picture, options: DiffusionOptions) {
  pipe.scheduler = Scheduler.from_config(pipe.scheduler.config);
  const { latents } = await pipe.invert('', { ...options, image });
  const { images } = await pipe('a blue dog', { ...options, latents, guidance_scale: 3 });
  return images[0];
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

type Seen = { steps: string[]; told: string[]; picture: string };

export async function main({ prompt, options }: { prompt: string; options: DiffusionOptions }) {
  const address = '/dist/browser.js'; // not part of this bundle
  const { pipeline, DDIMScheduler } = (await import(address)) as typeof import('../../src/index.ts');
  const file = async (address: string, name: string) => new File([await (await fetch(address)).blob()], name);
  const files = await Promise.all([...FILES, ...MORE, ...MODELS].map((name) => file(`${CASE}/${name}`, name)));
  const started: Worker[] = [];
  globalThis.Worker = class extends Worker {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(url, options);
      started.push(this);
    }
  };
  const shown = (picture?: Picture) => (picture ? `${picture.width} x ${picture.height} ${picture.data}` : '');
  const reasonOf = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (reason) => reason,
    );
  const open = {
    here: () => pipeline('text-to-image', files),
    there: () => pipeline('text-to-image', files, { worker: true }),
  };
  type Pipe = Awaited<ReturnType<(typeof open)['there']>>;

  /** All that a run says of itself. */
  async function follow(pipe: Pipe): Promise<Seen> {
    const seen: Seen = { steps: [], told: [], picture: '' };
    const callback_on_step_end = (told: object) => void seen.told.push(JSON.stringify(told));
    for await (const { step, steps, preview, images } of pipe.stream(prompt, { ...options, callback_on_step_end })) {
      seen.steps.push(`${step} of ${steps} ${shown(preview)}`);
      if (images) seen.picture = shown(images[0]);
    }
    return seen;
  }
  const here = await open.here();
  const page = await follow(here as unknown as Pipe);
  here.dispose();

  const there = await open.there();
  const worker = await follow(there);
  const leave = async () => {
    for await (const _ of there.stream(prompt, options)) return 'left';
  };
  const left = await leave();
  const why = { why: 'enough' };
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = await reasonOf(
    (async () => {
      for await (const _ of there.stream(prompt, { ...options, signal })) controller.abort(why);
    })(),
  );
  const oops = new RangeError('of the callback');
  const callback_on_step_end = () => {
    throw oops;
  };
  const thrown = await reasonOf(there(prompt, { ...options, callback_on_step_end }));
  const wrong = String(await reasonOf(there(prompt, { ...options, height: 500 })));
  const [image] = (await there(prompt, options)).images;
  const called = { picture: shown(image), adapters: await there.active_adapters() };
  const changed = shown(await edited(there, DDIMScheduler, image!, options));
  const drawn = async () => shown((await there(prompt, options)).images[0]);
  const plain = await drawn();
  await there.load_lora_weights([await file(LORA, 'pytorch_lora_weights.safetensors')], { adapter_name: 'style' });
  await there.set_adapters('style', 0.5);
  const styled = [await drawn()];
  started.at(-1)!.terminate();
  while ((await navigator.locks.query()).held?.some(({ name }) => name?.startsWith('tessera '))) await sleep(50);
  styled.push(await drawn());
  const pending = reasonOf(leave());
  there.dispose();
  const disposed = [String(await pending), String(await reasonOf(there.stream(prompt, options).next()))];
  return {
    page,
    worker,
    left,
    aborted: aborted === why,
    thrown: thrown === oops,
    wrong,
    called,
    changed,
    plain,
    styled,
    disposed,
  };
}
