// The shipped model against transformers: tessera-clip.json is written by its recipe (weights/recipes/clip.py --expected).
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { pipeline } from '../../src/tasks/pipeline.ts';
import { shipped } from '../../src/tasks/shipped.ts';

type Expected = { prompts: string[]; pictures: { file: string; rank: number; logits_per_image: number[] }[] };

/** Logits are written with five digits after the point. */
const TOLERANCE = 2e-5;

test('names the drawings of the unseen hand as transformers does', async () => {
  const { prompts, pictures } = JSON.parse(
    readFileSync(new URL('tessera-clip.json', import.meta.url), 'utf8'),
  ) as Expected;
  const folder = await shipped('world');
  const concepts = JSON.parse(readFileSync(`${folder}/concepts.json`, 'utf8')) as { name: string; phrase: string }[];
  const names = JSON.parse(readFileSync(`${folder}/openmoji/index.json`, 'utf8')) as Record<string, string>;
  const labels = concepts.map(({ phrase }) => phrase);
  using classify = await pipeline('zero-shot-image-classification');
  expect(labels.map((label) => classify.hypothesis_template.replace('{}', label))).toEqual(prompts);
  expect(pictures.map(({ file }) => file).sort()).toEqual(Object.keys(names).sort());

  const results = await classify(
    pictures.map(({ file }) => `${folder}/openmoji/${file}`),
    labels,
  );
  for (const [i, { file, rank, logits_per_image }] of pictures.entries()) {
    const powers = logits_per_image.map(Math.exp);
    const total = powers.reduce((sum, x) => sum + x, 0);
    const score = new Map(results[i]!.map((one) => [one.label, one.score]));
    for (const [k, label] of labels.entries()) {
      expect(Math.abs(score.get(label)! - powers[k]! / total), `${file}: ${label}`).toBeLessThan(TOLERANCE);
    }
    const truth = concepts.find(({ name }) => name === names[file])!.phrase;
    expect(1 + results[i]!.findIndex(({ label }) => label === truth), file).toBe(rank);
  }
}, 180_000);
