// Which of some labels a picture shows, by CLIP (Radford et al. 2021, arXiv:2103.00020) or SigLIP (Zhai et al. 2023,
// arXiv:2303.15343): the label whose sentence lies nearest to the picture. B = pictures, T = labels, E = embedding.
import { run } from '../exec/run.ts';
import { UserError } from '../io/error.ts';
import { locate, lookUp } from '../io/locate.ts';
import { type FromPretrained, pretrained } from '../io/pretrained.ts';
import { tensor } from '../ops/index.ts';
import { checkOptions, checkSignal } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { AutoModel, AutoProcessor, identify, type ModelSource } from './auto.ts';
import { BROKEN_WEIGHTS } from './finite.ts';
import { type ImageInput, nameOf } from './load-image.ts';
import { sentences } from './sentences.ts';

export type Classification = { label: string; score: number };

export type ZeroShotOptions = {
  /** The sentence around a label, `{}` in its place. Default: the one the model's card names, else transformers' own. */
  hypothesis_template?: string | undefined;
  /** Pictures in one run. */
  batch_size?: number | undefined;
  signal?: AbortSignal | undefined;
};

type Classify = {
  /** The labels with their scores, best first. */
  (image: ImageInput, labels: readonly string[], options?: ZeroShotOptions): Promise<Classification[]>;
  /** The same for each of several pictures; no score depends on what else is in the list. */
  (images: readonly ImageInput[], labels: readonly string[], options?: ZeroShotOptions): Promise<Classification[][]>;
};

export type ZeroShotImageClassifier<Model = Awaited<ReturnType<typeof AutoModel.from_pretrained>>> = Classify & {
  model: Model;
  model_type: string;
  /** What a call takes when it names none. */
  hypothesis_template: string;
  dispose(): void;
  [Symbol.dispose](): void;
};

const TASK = 'zero-shot-image-classification';
const DEFAULT_TEMPLATE = 'This is a photo of {}.'; // of transformers' pipeline
const TEXTS_AT_ONCE = 256;
const REMEMBERED = 4096; // sentences whose embeddings are kept, a few kB each

/** CLIP's labels compete; SigLIP asks of each on its own. `scalar` is the shape of logit_scale. */
const FAMILIES = {
  clip: { probabilities: (x: Tensor) => x.softmax(-1), scalar: [] },
  siglip: { probabilities: (x: Tensor) => x.sigmoid(), scalar: [1] },
} as const;

/** The numbers between similarities and logits, in f32 whatever the model's dtype. */
const logitScale = (shape: readonly number[]) =>
  pretrained('logit_scale', (w) => ({ scale: w.get('logit_scale', shape), bias: w.maybe('logit_bias', shape) }));

/**
 * A classifier on a CLIP or SigLIP folder or id: `await classify(image, ['a cat', 'a dog'])`. Throws a UserError when the folder
 * is not one, lacks its tokenizer or processor, or when there are no labels; an Error when the model gives no numbers.
 */
export async function zeroShotImageClassification(
  source: ModelSource,
  options: FromPretrained = {},
): Promise<ZeroShotImageClassifier> {
  options.signal?.throwIfAborted();
  const from = await lookUp(source, options);
  const { model_type, idsOf, processor, hypothesis_template } = await readFolder(from, options);
  const family = FAMILIES[model_type];
  const model = await AutoModel.from_pretrained(from, options);
  const { progress_callback: _, dtype: __, ...where } = options;
  const head = await logitScale(family.scalar)
    .from_pretrained(from, { ...where, device: model.device })
    .catch((error) => {
      model.dispose();
      throw error;
    });
  const known = new Map<string, Float32Array>();

  /** Normalised embeddings of sentences, [T, E]; each sentence is computed once. */
  async function embedTexts(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    const fresh = [...new Set(texts)].filter((text) => !known.has(text));
    const found = new Map(texts.map((text) => [text, known.get(text)]));
    for (let at = 0; at < fresh.length; at += TEXTS_AT_ONCE) {
      signal?.throwIfAborted();
      const part = fresh.slice(at, at + TEXTS_AT_ONCE);
      using input_ids = idsOf(part);
      using embeds = model.get_text_features({ input_ids }).normalize();
      await run([embeds], { signal });
      const rows = (await embeds.data()) as Float32Array;
      const size = rows.length / part.length;
      for (const [i, text] of part.entries()) found.set(text, rows.slice(i * size, (i + 1) * size));
    }
    for (const [text, row] of found) {
      known.delete(text);
      known.set(text, row!);
    }
    for (const text of [...known.keys()].slice(0, Math.max(0, known.size - REMEMBERED))) known.delete(text);
    return texts.map((text) => found.get(text)!);
  }

  /** Logits and scores, each [B, T]. */
  async function score(
    images: readonly ImageInput[],
    names: readonly string[],
    rows: readonly Float32Array[],
    signal?: AbortSignal,
  ): Promise<[Float32Array, Float32Array]> {
    const size = rows[0]!.length;
    const flat = new Float32Array(rows.length * size);
    for (const [i, row] of rows.entries()) flat.set(row, i * size);
    using pixel_values = (await processor(images, names)).pixel_values;
    using texts = tensor(flat, [rows.length, size]);
    const embeds = model.get_image_features({ pixel_values }).normalize().to('f32'); // [B, E]
    const scaled = embeds.matmul(texts.transpose(0, 1)).mul(head.scale.exp());
    using logits = head.bias ? scaled.add(head.bias) : scaled;
    using probabilities = family.probabilities(logits);
    await run([logits, probabilities], { signal });
    return [(await logits.data()) as Float32Array, (await probabilities.data()) as Float32Array];
  }

  async function classify(
    images: ImageInput | readonly ImageInput[],
    labels: readonly string[],
    options: ZeroShotOptions = {},
  ): Promise<Classification[] | Classification[][]> {
    checkOptions(TASK, options, "{ hypothesis_template: 'a photo of {}' }");
    const { hypothesis_template: template = hypothesis_template, batch_size = 8, signal } = options;
    checkSignal(TASK, signal);
    check(labels, template, batch_size);
    const rows = await embedTexts(
      labels.map((label) => template.replaceAll('{}', () => label)),
      signal,
    );
    const list: readonly ImageInput[] = Array.isArray(images) ? images : [images as ImageInput];
    const names = list.map((image, i) => nameOf(image, list.length > 1 ? `picture ${i + 1}` : 'image'));
    const results: Classification[][] = [];
    for (let at = 0; at < list.length; at += batch_size) {
      signal?.throwIfAborted();
      const end = Math.min(at + batch_size, list.length);
      const [logits, scores] = await score(list.slice(at, end), names.slice(at, end), rows, signal);
      for (let i = at, first = 0; i < end; i++, first += labels.length) {
        checkFinite(names[i]!, labels, logits.subarray(first, first + labels.length));
        const of = labels.map((label, t) => ({ label, score: scores[first + t]! }));
        results.push(of.sort((a, b) => b.score - a.score));
      }
    }
    return Array.isArray(images) ? results : results[0]!;
  }

  const dispose = () => {
    model.dispose();
    head.dispose();
  };
  const more = { model, model_type, hypothesis_template, dispose, [Symbol.dispose]: dispose };
  return Object.assign(classify as Classify, more);
}

/** What a folder says besides its weights. */
async function readFolder(from: ModelSource, options: FromPretrained) {
  const { model_type, config } = await identify(from, options);
  return {
    model_type,
    idsOf: await sentences(from, model_type, config),
    processor: await AutoProcessor.from_pretrained(from),
    hypothesis_template: promptOf(await (await locate(from)).folder.text('README.md')) ?? DEFAULT_TEMPLATE,
  };
}

/** The template that a model card recommends: "**Prompt to use:** `a drawing of X`", with X or {} for the label. */
export function promptOf(card = ''): string | undefined {
  const prompt = /^\W*prompt to use\W*`([^`\n]+)`/im.exec(card)?.[1];
  const template = prompt?.includes('{}') ? prompt : prompt?.replace(/\bX\b/, '{}');
  return template?.includes('{}') ? template : undefined;
}

/** What a model of broken weights says would be printed as if it meant something. */
function checkFinite(name: string, labels: readonly string[], logits: Float32Array): void {
  const bad = logits.findIndex((logit) => !Number.isFinite(logit));
  if (bad < 0) return;
  const all = logits.every((logit) => !Number.isFinite(logit));
  throw new Error(
    `[${TASK}] ${name}, ${all ? 'every label' : `label ${JSON.stringify(labels[bad])}`}: the logit is ${logits[bad]}, want a number. ${BROKEN_WEIGHTS}`,
  );
}

function check(labels: readonly string[], template: string, batch_size: number): void {
  if (!Array.isArray(labels)) {
    throw new UserError(
      `[${TASK}] labels: got ${JSON.stringify(labels)}, want a list of texts, such as ["a cat", "a dog"]`,
    );
  }
  if (labels.length === 0) throw new UserError(`[${TASK}] no labels: want at least one, such as "a cat"`);
  const bad = labels.findIndex((label) => typeof label !== 'string' || label.trim() === '');
  if (bad >= 0) throw new UserError(`[${TASK}] label ${bad + 1}: got ${JSON.stringify(labels[bad])}, want a text`);
  if (typeof template !== 'string' || !template.includes('{}')) {
    throw new UserError(`[${TASK}] hypothesis_template: got ${JSON.stringify(template)}, want {} where the label goes`);
  }
  if (!(Number.isInteger(batch_size) && batch_size > 0)) {
    throw new UserError(`[${TASK}] batch_size: got ${batch_size}, want a whole number from 1`);
  }
}
