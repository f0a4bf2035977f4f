// The tiny Stable Diffusion of a golden case in a page and in a worker of it, which take dist/ as a page would.
import type { DiffusionOptions, Picture, pipeline as Pipeline } from '../../src/index.ts';

const CASE = '/tests/goldens/cases/stable-diffusion';
const FILES = ['model_index.json', 'scheduler/scheduler_config.json', 'text_encoder/config.json'];
const MORE = ['text_encoder/model.safetensors', 'tokenizer/tokenizer.json', 'tokenizer/tokenizer_config.json'];
const MODELS = ['unet', 'vae'].flatMap((part) => [
  `${part}/config.json`,
  `${part}/diffusion_pytorch_model.safetensors`,
]);

type Seen = { steps: string[]; told: string[]; picture: string };

export async function main({ prompt, options }: { prompt: string; options: DiffusionOptions }) {
  const address = '/dist/browser.js'; // not part of this bundle
  const { pipeline } = (await import(address)) as { pipeline: typeof Pipeline };
  const files = await Promise.all(
    [...FILES, ...MORE, ...MODELS].map(async (name) => new File([await (await fetch(`${CASE}/${name}`)).blob()], name)),
  );
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
  const { latents } = await there.invert('', { image: image!, num_inference_steps: 1 });
  const called = { picture: shown(image), adapters: await there.active_adapters(), inverted: latents.shape };
  const pending = reasonOf(leave());
  there.dispose();
  const disposed = [String(await pending), String(await reasonOf(there.stream(prompt, options).next()))];
  return { page, worker, left, aborted: aborted === why, thrown: thrown === oops, wrong, called, disposed };
}
