// Training of LLaVA's projector, its first stage: the tower and the language model are frozen, and the projector learns from
// what the language model should say about pictures. Liu et al. 2023, arXiv:2304.08485.
import { assign, run } from '../exec/run.ts';
import { UserError } from '../io/error.ts';
import { readHeader, type StoredTensor, writeSafetensors } from '../io/safetensors.ts';
import { fromBytes } from '../io/source.ts';
import { randn, tensor } from '../ops/index.ts';
import type { ImageTextGenerator } from '../tasks/image-text-to-text.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { AdamW } from './adamw.ts';
import { cross_entropy } from './loss.ts';
import { type Batch, type PictureLesson, packer } from './packing.ts';

export type ProjectorOptions = {
  /** Steps of the whole training, which the learning rate is planned for. */
  steps: number;
  /** The highest learning rate; it rises over the first `warmup` (0.03) of the steps and falls as a cosine to 0. */
  lr?: number;
  warmup?: number;
  weight_decay?: number;
};

const PREFIX = 'multi_modal_projector.';
const FORMAT = 'tessera-projector-training';

/** `using training = new ProjectorTraining(look, { steps: 400 })`; `await training.step(lessons)`. The model learns in place. */
export class ProjectorTraining implements Disposable {
  readonly params: ReadonlyMap<string, Tensor>;
  /** Of each step so far. */
  readonly losses: number[] = [];
  readonly #look: ImageTextGenerator;
  readonly #options: Required<ProjectorOptions>;
  readonly #optimizer: AdamW;
  readonly #pack: (lessons: readonly PictureLesson[]) => Promise<Batch>;

  /** The projector of `look.model` is f32: load it with dtype { multi_modal_projector: 'f32', default: ... }. */
  constructor(look: ImageTextGenerator, options: ProjectorOptions) {
    this.#look = look;
    const { steps, lr = 1e-3, warmup = 0.03, weight_decay = 0 } = options;
    this.#options = { steps, lr, warmup, weight_decay };
    this.params = new Map([...look.model.named_parameters()].filter(([name]) => name.startsWith(PREFIX)));
    if (this.params.size === 0)
      throw new UserError(`[train] ${look.model.name}: its projector has no weights to learn`);
    this.#optimizer = new AdamW(this.params.values(), { weight_decay: this.#options.weight_decay });
    this.#pack = packer(look.processor, look.model.image_token_id);
  }

  /** Random weights of a seed in place of the model's. */
  async reset(seed: number): Promise<void> {
    const params = [...this.params.values()];
    const made = params.map((p, i) => initial(p, seed, i));
    await run(made, { device: this.#look.model.device });
    for (const [i, p] of params.entries()) assign(p, made[i]!);
  }

  /** Steps taken. */
  get steps(): number {
    return this.#optimizer.steps;
  }

  /** Learns from some lessons; gives the mean loss of the tokens of their answers. Throws a UserError where that is no number. */
  async step(lessons: readonly PictureLesson[], { signal }: { signal?: AbortSignal } = {}): Promise<number> {
    using batch = await this.#pack(lessons);
    this.#optimizer.options.lr = this.rate(this.steps);
    const loss = await this.#optimizer.step(this.#loss(batch), { signal });
    this.losses.push(loss);
    return loss;
  }

  /** The loss of lessons that are not learned from. */
  async loss(lessons: readonly PictureLesson[]): Promise<number> {
    using batch = await this.#pack(lessons);
    return this.#loss(batch).item();
  }

  /** The learning rate of a step. */
  rate(step: number): number {
    const { lr, warmup, steps } = this.#options;
    const rising = Math.max(1, Math.round(warmup * steps));
    if (step < rising) return (lr * (step + 1)) / rising;
    return (lr / 2) * (1 + Math.cos(Math.PI * Math.min(1, (step - rising) / Math.max(1, steps - rising))));
  }

  #loss({ places, targets, ...inputs }: Batch): Tensor {
    const { model } = this.#look;
    const { last_hidden_state } = model.forward(inputs);
    const hidden = last_hidden_state.flatten(0, 1).index_select(0, places); // logits of what is asked for alone
    return cross_entropy(model.lm_head(hidden), targets);
  }

  /** The projector, by the names of the checkpoint. */
  async weights(): Promise<Map<string, StoredTensor>> {
    const all = [...this.params].map(async ([name, p]) => {
      return [name, { dtype: 'F32', shape: p.shape, data: (await p.data()) as Float32Array }] as const;
    });
    return new Map(await Promise.all(all));
  }

  /** Everything that a later run needs to go on to the same bits, as a safetensors file; `notes` are for whoever loads it. */
  async save(notes: Readonly<Record<string, string>> = {}): Promise<Uint8Array> {
    const tensors = await this.weights();
    const { state, step } = await this.#optimizer.state_dict();
    for (const [i, [name, { shape }]] of [...tensors].entries()) {
      for (const [part, data] of Object.entries(state[i]!))
        tensors.set(`${part}.${name}`, { dtype: 'F32', shape, data });
    }
    const losses = Float32Array.from(this.losses);
    tensors.set('losses', { dtype: 'F32', shape: [losses.length], data: losses });
    return writeSafetensors(tensors, [['format', FORMAT], ['step', String(step)], ...Object.entries(notes)]);
  }

  /** Takes over what `save` gave, for the same model; gives its notes. Throws a UserError for anything else. */
  async load(bytes: Uint8Array): Promise<Record<string, string>> {
    const own = new Uint8Array(bytes); // a slice of Node's Buffer would share the memory of all
    const { tensors, metadata } = await readHeader(fromBytes(own, 'checkpoint'));
    const values = (name: string, shape?: readonly number[]) => {
      const info = tensors.get(name);
      if (info?.dtype !== 'F32' || (shape && info.shape.join() !== shape.join()) || metadata.get('format') !== FORMAT) {
        throw new UserError(`[train] not a checkpoint of this model's training: no ${name} of its shape in it`);
      }
      return new Float32Array(own.slice(info.begin, info.end).buffer);
    };
    const found = [...this.params].map(([name, p]) => {
      const [exp_avg, exp_avg_sq] = [values(`exp_avg.${name}`, p.shape), values(`exp_avg_sq.${name}`, p.shape)];
      return { p, value: tensor(values(name, p.shape), p.shape), exp_avg, exp_avg_sq };
    });
    const losses = values('losses');
    await run(
      found.map(({ value }) => value),
      { device: this.#look.model.device },
    );
    for (const { p, value } of found) assign(p, value);
    this.#optimizer.load_state_dict({ step: Number(metadata.get('step')), state: found });
    this.losses.splice(0, this.losses.length, ...losses);
    return Object.fromEntries(metadata);
  }

  dispose(): void {
    this.#optimizer.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Random weights: normal with deviation 1 / sqrt(inputs), biases 0. */
function initial({ shape }: Tensor, seed: number, position: number): Tensor {
  const [, inputs = Number.POSITIVE_INFINITY] = shape;
  return randn(shape, { seed, position }).mul(inputs ** -0.5);
}
