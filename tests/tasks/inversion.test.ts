// DDIM inversion with tessera-diffusion: noise from a picture, and from there back to what the autoencoder makes of it.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { pipeline } from '../../src/index.ts';
import { shipped } from '../../src/tasks/shipped.ts';
import { VaeImageProcessor } from '../../src/tasks/vae-image-processor.ts';
import { COLOUR_NAMES, openWorld, phraseOf, render, type Scene } from '../../src/world/index.ts';
import { withArticle } from '../../src/world/words.ts';

const COUNT = process.env.MODE === 'full' ? 10 : 2; // a hundred steps each
const SIDE = 64;
const DRAWN = 40;
const DECIBELS = 25;

test('leads back to a picture', { timeout: 600_000 }, async () => {
  const folder = await shipped('world');
  const world = await openWorld(async (file) => readFileSync(`${folder}/${file}`));
  const { concepts } = JSON.parse(readFileSync(`${folder}/posters.json`, 'utf8')) as { concepts: string[] };
  const scenes = Array.from({ length: COUNT }, (_, i): Scene => {
    const [x, y] = [(SIDE - DRAWN) / 2, (SIDE - DRAWN) / 2];
    const thing = {
      name: concepts[6 * i + 2]!,
      hand: 'twemoji',
      size: 'big',
      place: 'middle',
      x,
      y,
      side: DRAWN,
    } as const;
    return { background: COLOUR_NAMES[i]!, things: [thing] };
  });
  const prompts = scenes.map(
    ({ background, things }) => `a drawing of ${phraseOf(world, things[0]!)} on ${withArticle(background)} background`,
  );
  const processor = new VaeImageProcessor();
  using pipe = await pipeline('text-to-image');
  const { vae } = pipe.components;
  using pictures = processor.preprocess(scenes.map((scene) => render(world, scene)));
  using image = await pictures.add(1).mul(0.5).realize();
  const how = { num_inference_steps: 50 };
  const { latents, image_latents } = await pipe.invert(prompts, { ...how, image });
  const back = await pipe(prompts, { ...how, latents, guidance_scale: 1, height: SIDE, width: SIDE });
  const round = await processor.postprocess(vae.decode(image_latents.div(vae.config.scaling_factor!)));
  for (const t of [latents, image_latents]) t.dispose();
  for (const [i, { data }] of back.images.entries()) {
    const squares = data.reduce((sum, v, k) => sum + ((v - round[i]!.data[k]!) / 255) ** 2, 0);
    expect(-10 * Math.log10(squares / data.length), prompts[i]).toBeGreaterThan(DECIBELS);
  }
});
