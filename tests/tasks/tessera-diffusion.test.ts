// The shipped model against diffusers: tessera-diffusion.json is written by its recipe (weights/recipes/diffusion.py --expected).
import { readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { estimate } from '../../src/exec/estimate.ts';
import { AutoencoderKL, concat, Generator, pipeline, StableDiffusionPipeline } from '../../src/index.ts';
import type { Pixels } from '../../src/io/pixels.ts';
import { shipped } from '../../src/tasks/shipped.ts';
import { VaeImageProcessor } from '../../src/tasks/vae-image-processor.ts';
import { makeScene, openWorld, render } from '../../src/world/index.ts';
import { backgroundOf } from '../background.ts';

type Drawn = { prompt: string; seed: number; name: string; background: string; named: string; seen_background: string };
type Expected = { pictures: (Drawn & { mean: number })[]; scenes: number[] };
const expected = JSON.parse(readFileSync(new URL('tessera-diffusion.json', import.meta.url), 'utf8')) as Expected;
const COUNT = process.env.MODE === 'full' ? 20 : 5; // a picture takes seconds on a software adapter
const pictures = expected.pictures.slice(0, COUNT);
const scenes = expected.scenes.slice(0, COUNT);

vi.setConfig({ testTimeout: 600_000 });

const SIDE = 64;
const TILED_DB = 27.5; // as AutoencoderKL's enable_tiling says

const json = async (file: string) => JSON.parse(readFileSync(`${await shipped('world')}/${file}`, 'utf8'));

/** Mean decibels between two pictures. */
function decibels(a: Pixels, b: ArrayLike<number>): number {
  const squares = a.data.reduce((sum, v, i) => sum + ((v - b[i]!) / 255) ** 2, 0);
  return -10 * Math.log10(squares / a.data.length);
}

test('draws what diffusers draws from the same noise, and tessera-clip names it alike', async () => {
  const { concepts, tests } = await json('posters.json');
  const phrases = new Map<string, string>(
    (await json('concepts.json')).map(({ name, phrase }: { name: string; phrase: string }) => [name, phrase]),
  );
  using pipe = await StableDiffusionPipeline.from_pretrained(await shipped('tessera-diffusion'));
  using classify = await pipeline('zero-shot-image-classification');
  const noise = pictures.map(({ seed }) => new Generator(seed, { algorithm: 'torch' }).randn([1, 4, 16, 16]));
  using latents = concat(noise);
  const { images } = await pipe(
    pictures.map(({ prompt }) => prompt),
    { latents, height: SIDE, width: SIDE, num_inference_steps: tests.steps, guidance_scale: tests.guidance_scale },
  );
  for (const t of noise) t.dispose();
  const seen = await classify(
    images,
    concepts.map((name: string) => phrases.get(name)!),
  );
  const named = seen.map(([best]) => best!.label);
  for (const [i, { mean, seen_background, prompt }] of pictures.entries()) {
    const { data } = images[i]!;
    expect(Math.abs(data.reduce((sum, v) => sum + v, 0) / data.length - mean), prompt).toBeLessThan(0.5);
    expect(backgroundOf(images[i]!), prompt).toBe(seen_background);
  }
  const alike = pictures.filter((one, i) => phrases.get(one.named) === named[i]);
  expect(alike.length).toBeGreaterThanOrEqual(pictures.length - 1); // two names can be equally likely
});

test('brings scenes back as well as in torch', async () => {
  const folder = await shipped('world');
  const world = await openWorld(async (file) => readFileSync(`${folder}/${file}`));
  const { seed, split } = (await json('tests.json')).scenes;
  using pipe = await StableDiffusionPipeline.from_pretrained(await shipped('tessera-diffusion'));
  const { vae } = pipe.components;
  const processor = new VaeImageProcessor({ vae_scale_factor: 4 });
  const given = scenes.map((_, index) => render(world, makeScene(world, { seed, index, split })));
  using x = processor.preprocess(given);
  using latents = (await vae.encode(x)).mean;
  using back = vae.decode(latents);
  const values = await back.mul(127.5).add(127.5).maximum(0).minimum(255).data();
  const area = SIDE * SIDE;
  for (const [i, wanted] of scenes.entries()) {
    const own = Array.from({ length: 3 * area }, (_, k) => values[(3 * i + (k % 3)) * area + Math.floor(k / 3)]!);
    expect(Math.abs(decibels(given[i]!, own) - wanted), `scene ${i}`).toBeLessThan(0.05);
  }
});

test('decodes in tiles what is larger than its pictures, nearly alike and in far less memory', async () => {
  const folder = await shipped('world');
  const world = await openWorld(async (file) => readFileSync(`${folder}/${file}`));
  const { seed, split } = (await json('tests.json')).scenes;
  using vae = await AutoencoderKL.from_pretrained(`${await shipped('tessera-diffusion')}/vae`);
  const given = [0, 1, 2, 3].map((index) => render(world, makeScene(world, { seed, index, split })));
  using x = new VaeImageProcessor({ vae_scale_factor: 4 }).preprocess(given);
  const rows = x.split(2).map((two) => concat(two.split(1), 3));
  using picture = await concat(rows, 2).realize(); // four scenes, [1, 3, 128, 128]
  using latents = await vae.encode(picture).mean.contiguous().realize();
  const bytes = estimate([vae.decode(latents)]).intermediate_bytes;
  const whole = await vae.decode(latents).data();
  vae.enable_tiling();
  expect(estimate([vae.decode(latents)]).intermediate_bytes).toBeLessThan(bytes / 2);
  const tiled = vae.decode(latents);
  expect(tiled.shape).toEqual([1, 3, 2 * SIDE, 2 * SIDE]);
  const values = [...(await tiled.data())];
  const squares = values.reduce((sum, v, i) => sum + ((v - whole[i]!) / 2) ** 2, 0);
  const near = -10 * Math.log10(squares / values.length);
  expect(near).toBeGreaterThan(TILED_DB);
  const small = latents.narrow(2, 0, 16).narrow(3, 0, 16);
  const part = await vae.decode(small).data();
  vae.disable_tiling();
  expect(await vae.decode(small).data()).toEqual(part);
});
