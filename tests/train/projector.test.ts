// The projector of the tiny LLaVA learns what the drawn world holds; everything else stays as it is.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { halfToFloat } from '../../src/exec/run.ts';
import {
  cross_entropy,
  type ImageTextGenerator,
  LlavaMetaForCausalLM,
  pipeline,
  preprocess,
  tensor,
} from '../../src/index.ts';
import { IGNORE_INDEX } from '../../src/io/conversation.ts';
import { saveModel, toHalf } from '../../src/io/save-model.ts';
import { stack } from '../../src/tasks/auto.ts';
import { type PictureLesson, packer } from '../../src/train/packing.ts';
import { ProjectorTraining } from '../../src/train/projector.ts';
import { lesson, type World } from '../../src/world/index.ts';
import { ROOT } from '../cli/run.ts';
import { golden, llavaFolder, originalFolder } from '../tasks/support.ts';
import { theWorld } from '../world/support.ts';

const STEPS = 6;
let world: World;
let look: ImageTextGenerator;
beforeAll(async () => {
  world = await theWorld();
  look = await pipeline('image-text-to-text', llavaFolder());
});
afterAll(() => look.dispose());

/** With few questions: the tiny tokenizer spells. */
const lessons = (first: number, n = 3): PictureLesson[] =>
  Array.from({ length: n }, (_, i) => {
    const { image, turns } = lesson(world, { seed: 1, index: first + i, split: 'seen' });
    return { image, turns: turns.slice(0, 3) };
  });

const bits = async (training: ProjectorTraining) =>
  Buffer.concat(
    [...(await training.weights()).values()].map(({ data }) => Buffer.from((data as Float32Array).slice().buffer)),
  );

describe('packing', () => {
  const config = JSON.parse(readFileSync(golden('llava/config.json'), 'utf8'));
  const windowed = { ...config, text_config: { ...config.text_config, model_type: 'mistral', sliding_window: 30 } };
  it.each([
    ['', config],
    [', also one that sees only what is near', windowed], // the picture is further away in the row than in the question
  ])('gives each question the loss that it has alone%s', async (_, own) => {
    using model = await pipeline('image-text-to-text', llavaFolder({ 'config.json': JSON.stringify(own) }));
    using training = new ProjectorTraining(model, { steps: 1 });
    const [one] = lessons(0) as [PictureLesson];
    expect(one.turns.length).toBe(3);
    const pack = packer(model.processor, model.model.image_token_id);
    const count = async (turns: PictureLesson['turns']) => {
      using batch = await pack([{ ...one, turns }]);
      return [...(await batch.targets.data())].filter((t) => t !== IGNORE_INDEX).length;
    };
    let [sum, tokens] = [0, 0];
    for (const turn of one.turns) {
      const n = await count([turn]);
      sum += n * (await training.loss([{ ...one, turns: [turn] }]));
      tokens += n;
    }
    expect(await count(one.turns)).toBe(tokens);
    expect(await training.loss([one])).toBeCloseTo(sum / tokens, 5);
  });

  it('asks for the answer and its end, and for nothing else', async () => {
    const pack = packer(look.processor, look.model.image_token_id);
    const turns = [{ question: 'what is this?', answer: 'a red cat' }];
    using batch = await pack([{ ...lessons(0)[0]!, turns }]);
    const ids = [...(await batch.input_ids.data())];
    const targets = [...(await batch.targets.data())].filter((t) => t !== IGNORE_INDEX);
    const places = [...(await batch.places.data())].slice(0, targets.length);
    expect(places.map((i) => ids[i + 1])).toEqual(targets);
    const end = look.tokenizer.eos_token_id;
    expect(targets).toEqual([...look.tokenizer.encode('a red cat', { add_special_tokens: false }), end]); // one space before it
    expect(look.tokenizer.decode(ids.slice(0, places[0]! + 1))).toMatch(/ASSISTANT:$/);
  });
});

describe('rows of the original', () => {
  it('have the loss of packed ones', async () => {
    const folder = originalFolder();
    using own = await pipeline('image-text-to-text', folder);
    using meta = await LlavaMetaForCausalLM.from_pretrained(folder);
    using training = new ProjectorTraining(own, { steps: 1 });
    const turn = { question: 'what is this?', answer: 'a red cat' };
    const { image } = lessons(0)[0]!;
    const row = preprocess('llava_v1', [`<image>\n${turn.question}`, turn.answer], own.tokenizer);
    const { tiles } = await own.processor.prepare(image);
    const { inputs_embeds, labels, attention_mask } = meta.prepare_inputs_labels_for_multimodal({
      ...{ input_ids: [row.input_ids], labels: [row.labels], images: stack(tiles) },
    });
    expect(row.mismatch).toBe(false);
    expect(attention_mask[0]!.length).toBe(labels[0]!.length);
    const { logits } = own.model.forward({ inputs_embeds });
    const targets = tensor(labels[0]!.slice(1), { dtype: 'i32' });
    const loss = await cross_entropy(logits.slice(1, 0, -1).flatten(0, 1), targets).item();
    expect(loss).toBeCloseTo(await training.loss([{ image, turns: [turn] }]), 5);
  });
});

describe('training', () => {
  it('lowers the loss, and moves the projector alone', async () => {
    using own = await pipeline('image-text-to-text', llavaFolder());
    using training = new ProjectorTraining(own, { steps: 30, lr: 2e-2 });
    await training.reset(3);
    const frozen = 'language_model.model.layers.0.mlp.up_proj.weight';
    const before = [await bits(training), [...(await own.model.named_parameters().get(frozen)!.data())]] as const;
    const first = await training.loss(lessons(0));
    for (let i = 0; i < 12; i++) await training.step(lessons(0));
    expect(await training.loss(lessons(0))).toBeLessThan(first - 0.1);
    expect(training.losses.length).toBe(12);
    expect([...(await own.model.named_parameters().get(frozen)!.data())]).toEqual(before[1]);
    expect(await bits(training)).not.toEqual(before[0]);
    using other = look.session(); // the same files: their weights are its own by now
    expect(other.tokens).toEqual([]);
    expect([...(await look.model.named_parameters().get(frozen)!.data())]).toEqual(before[1]);
  });

  it('goes on from a checkpoint to the same bits', async () => {
    const run = async (cut: number) => {
      const own = await pipeline('image-text-to-text', llavaFolder());
      let training = new ProjectorTraining(own, { steps: STEPS });
      await training.reset(7);
      for (let i = 0; i < STEPS; i++) {
        if (i === cut) {
          const file = await training.save({ who: 'me' });
          training.dispose();
          training = new ProjectorTraining(own, { steps: STEPS });
          await training.reset(8);
          expect(await training.load(Buffer.from(file))).toMatchObject({ who: 'me' });
          expect([training.steps, training.losses.length]).toEqual([cut, cut]);
        }
        await training.step(lessons(3 * i));
      }
      const result = [await bits(training), training.losses] as const;
      training.dispose();
      own.dispose();
      return result;
    };
    expect(await run(3)).toEqual(await run(-1));
  });

  it('refuses a file that is no checkpoint of it, and stops where it is told to', async () => {
    using training = new ProjectorTraining(look, { steps: 2 });
    const weights = readFileSync(path.join(ROOT, 'tests/goldens/cases/llava/model.safetensors'));
    await expect(training.load(new Uint8Array(weights))).rejects.toThrow("not a checkpoint of this model's training");
    const before = await bits(training);
    await expect(training.step(lessons(0), { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(await bits(training)).toEqual(before);
  });

  it('refuses a step that would ruin it, and can go on', async () => {
    using own = await pipeline('image-text-to-text', llavaFolder());
    using training = new ProjectorTraining(own, { steps: 3, lr: 1e30, warmup: 0 });
    await training.reset(3);
    await training.step(lessons(0)); // to where the next loss is none
    const before = [await bits(training), await training.save()];
    await expect(training.step(lessons(0))).rejects.toThrow(
      /step 2: the loss is .*Nothing was changed: lower the rate/,
    );
    expect([await bits(training), await training.save()]).toEqual(before);
    expect([training.steps, training.losses.length]).toEqual([1, 1]);
    await training.reset(3);
    expect(await training.step(lessons(0))).toBe(training.losses[0]);
  });

  it('plans the rate: up, then down as a cosine', () => {
    using training = new ProjectorTraining(look, { steps: 100, lr: 1, warmup: 0.1 });
    expect([0, 4, 9, 10, 55, 100].map((step) => +training.rate(step).toFixed(3))).toEqual([0.1, 0.5, 1, 1, 0.5, 0]);
  });
});

describe('a model saved with other values', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'projector-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is loaded by the same code, and says other things', async () => {
    const name = 'multi_modal_projector.linear_1.bias';
    const values = new Map([[name, new Float32Array(32).fill(0.5)]]);
    await saveModel(llavaFolder(), folder, values);
    using changed = await pipeline('image-text-to-text', folder);
    const all = changed.model.named_parameters();
    expect([...(await all.get(name)!.data())]).toEqual(new Array(32).fill(0.5));
    for (const other of ['multi_modal_projector.linear_2.weight', 'vision_tower.pre_layrnorm.bias']) {
      expect(await all.get(other)!.data()).toEqual(await look.model.named_parameters().get(other)!.data());
    }
    await expect(saveModel(llavaFolder(), folder, new Map([['none', new Float32Array(1)]]))).rejects.toThrow(
      'none cannot be written back',
    );
  });

  it('keeps a tower that stands beside it, with its new values', async () => {
    const name = 'vision_tower.pre_layrnorm.bias';
    const to = path.join(folder, 'original');
    await saveModel(originalFolder(), to, new Map([[name, new Float32Array(32).fill(0.25)]]));
    using changed = await pipeline('image-text-to-text', to);
    expect([...(await changed.model.named_parameters().get(name)!.data())]).toEqual(new Array(32).fill(0.25));
    const other = 'vision_tower.pre_layrnorm.weight';
    const values = async (one: ImageTextGenerator) => one.model.named_parameters().get(other)!.data();
    expect(await values(changed)).toEqual(await values(look));
  });

  it('rounds to the nearest half, ties to the even one', () => {
    for (let h = 0; h < 0x7c00; h++) {
      const [a, b] = [halfToFloat(h), h + 1 < 0x7c00 ? halfToFloat(h + 1) : 65536];
      expect(toHalf(a)).toBe(h);
      expect(toHalf(-a)).toBe(h | (a > 0 ? 0x8000 : toHalf(-a) & 0x8000));
      const middle = (a + b) / 2;
      expect(toHalf(middle)).toBe(h % 2 === 0 ? h : h + 1);
      expect(toHalf(middle * (1 + 2 ** -20))).toBe(h + 1);
      expect(toHalf(middle * (1 - 2 ** -20))).toBe(h);
    }
  });
});
