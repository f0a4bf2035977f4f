// The last part of tessera start closes the circle: a picture is drawn from words, named, described, changed, and seen again.
import type { ImageTextGenerator } from '../tasks/image-text-to-text.ts';
import type { Picture } from '../tasks/picture.ts';
import { type DiffusionStep, StableDiffusionImg2ImgPipeline } from '../tasks/stable-diffusion/pipelines.ts';
import type { Classification } from '../tasks/zero-shot-image-classification.ts';
import { type Opened, rows } from './classifier.ts';
import { watch, withPipeline } from './diffusion.ts';
import type { DeviceOptions } from './options.ts';
import { print } from './output.ts';
import { answerTo } from './start-talk.ts';
import { seconds } from './table.ts';
import { beside, paint, type Terminal } from './terminal.ts';
import { visible } from './text.ts';

const BACKGROUND = 'on a green background';
/** What is drawn, and what it is changed into. */
const THINGS = ['a fox', 'a tiger'] as const;
/** Few steps: it is to be seen, not to be judged by. */
const HOW = { height: 64, width: 64, num_inference_steps: 5, guidance_scale: 2, seed: 1 };
const STRENGTH = 0.8;
const SHOWN = 3;

/** A picture, and what the other models make of it. */
type Seen = { prompt: string; strength?: number; labels: Classification[]; right: boolean; description: string };
export type Circle = { steps: number; seed: number; pictures: Seen[]; time_ms: number };

export type Eyes = { classify: Opened['classify']; labels: readonly string[]; seer: ImageTextGenerator };

/** Draws, looks, changes and looks again; what comes of it is shown as it comes. */
export async function circle(options: DeviceOptions, eyes: Eyes, terminal: Terminal): Promise<Circle> {
  const say = options.json ? () => {} : print;
  const pictures: Seen[] = [];
  const start = performance.now();
  say('\nAnd the circle closes: tessera-diffusion draws from words, and the other two say what they see in it.');
  await withPipeline({ ...options, lora: [] }, async ({ task }) => {
    let drawn: Picture | undefined;
    for (const thing of THINGS) {
      const prompt = `a drawing of ${thing} ${BACKGROUND}`;
      const from = performance.now();
      const edit = drawn && { image: drawn, strength: STRENGTH };
      const steps: AsyncGenerator<DiffusionStep> = edit
        ? StableDiffusionImg2ImgPipeline.from_pipe(task).stream(prompt, { ...HOW, ...edit })
        : task.stream(prompt, HOW);
      const made = await watch(steps, prompt);
      drawn = made.images[0]!;
      const how = edit ? `of that picture, ${STRENGTH * 100} % of it anew` : 'of noise';
      const lines = [
        paint(terminal, 'bold', prompt),
        `${how}, in ${made.steps} steps, ${seconds(performance.now() - from)}`,
      ];
      if (!options.json) say(`\n${await beside(drawn, lines, terminal)}`);
      const labels = (await eyes.classify(drawn, eyes.labels)).slice(0, SHOWN);
      const right = labels[0]!.label === thing;
      const verdict = right ? paint(terminal, 'green', 'right') : paint(terminal, 'red', `not ${thing}`);
      say([`tessera-clip, of ${eyes.labels.length} things: ${verdict}`, ...rows(labels, terminal)].join('\n'));
      using session = eyes.seer.session();
      const description = await answerTo(session, drawn, 'describe the picture.');
      say(`tessera-llava: ${visible(description)}`);
      pictures.push({ prompt, ...(edit && { strength: STRENGTH }), labels, right, description });
    }
  });
  const time_ms = Math.round(performance.now() - start);
  say(`\nDrawn, seen and changed in ${seconds(time_ms)}. Yours: tessera imagine, tessera edit (see --help)`);
  return { steps: HOW.num_inference_steps, seed: HOW.seed, pictures, time_ms };
}
