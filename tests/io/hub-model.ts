// A model whose weights come from the hub, through the cache, onto the device: what was reported, and what the weights are.
import { type AdapterChoice, type HubOptions, setDevice, type Tensor } from '../../src/index.ts';
import { pretrained } from '../../src/io/pretrained.ts';

export const SIZE = 100_000; // larger than the headers that are read first

export type Loaded = { events: string[]; sum: number; again: string[] };

/** Loads `a`, f32 [SIZE], twice. */
export async function load(repo: string, options: HubOptions): Promise<Loaded> {
  const events: string[] = [];
  const progress_callback: HubOptions['progress_callback'] = (event) => {
    const text = `${event.status} ${'file' in event ? event.file : event.name}`;
    if (events.at(-1) !== text) events.push(text);
  };
  const Model = pretrained('Model', (w) => ({ a: w.get('a', [SIZE]) }));
  using model = await Model.from_pretrained(repo, { ...options, progress_callback });
  const sum = ((await (model.a as Tensor).data()) as Float32Array).reduce((n, x) => n + x, 0);
  const first = events.splice(0);
  (await Model.from_pretrained(repo, { ...options, progress_callback })).dispose();
  return { events: first, sum, again: events };
}

/** Runs in a bundle, see tests/runtimes. */
export async function main({ repo, options, ...choice }: AdapterChoice & { repo: string; options: HubOptions }) {
  await setDevice(choice);
  return load(repo, options);
}
