// `model.generate(...)` as transformers has it: tokens in, tokens out, for rows of a batch at once.
import { run } from '../exec/run.ts';
import { UserError } from '../io/error.ts';
import { parseObject } from '../io/json.ts';
import { locate, type ModelSource } from '../io/locate.ts';
import type { Config, FromPretrained } from '../io/pretrained.ts';
import type { Pictures } from '../models/llava.ts';
import { concat, stack, tensor } from '../ops/index.ts';
import { checkOptions, checkTensors, describe } from '../tensor/check.ts';
import { Tensor } from '../tensor/tensor.ts';
import { decode, forget, type Held } from './decode.ts';
import type { CausalLM } from './decoder.ts';
import { type GenerateOptions, settle } from './generation-config.ts';
import { type Inserts, place } from './spans.ts';

export type GenerateInputs = GenerateOptions & {
  /** [B, L]; rows that are shorter are padded on the left, with 0 in `attention_mask`. */
  input_ids: Tensor | readonly (readonly number[])[];
  attention_mask?: Tensor | readonly (readonly number[])[] | undefined;
  /** Of a model that sees: pictures [N, 3, S, S] for the placeholders in `input_ids`, in their order. */
  pixel_values?: Tensor | undefined;
  /** Where they are tiles of pictures: [width, height] of each picture. */
  image_sizes?: Pictures['image_sizes'];
  /** Gets the prompt and then each token, as text streamers do. */
  streamer?: { put(tokens: readonly number[][]): void; end(): void } | undefined;
};
type Outputs = { output_logits?: boolean; return_dict_in_generate?: boolean };
/** `sequences`: i32 [B, L + tokens], the prompt first. `logits`: f32 [B, tokens, V], as the model gave them. */
export type Generated = { sequences: Tensor; logits?: Tensor };

export type Generative<M> = M & {
  /** generation_config.json. */
  generation_config: Config;
  generate(inputs: GenerateInputs & Outputs & { return_dict_in_generate: true }): Promise<Generated>;
  generate(inputs: GenerateInputs & Outputs): Promise<Tensor>;
};

async function rowsOf(name: string, given: Tensor | readonly (readonly number[])[]): Promise<number[][]> {
  const isRows = Array.isArray(given) && given.every(Array.isArray);
  if (isRows) return given.map((row: readonly number[]) => [...row]);
  if (!(given instanceof Tensor))
    throw new UserError(`[generate] ${name}: got ${describe(given)}, want rows of tokens`);
  if (given.rank !== 2) throw new UserError(`[generate] ${name}: got [${given.shape}], want [B, L]`);
  return (await given.tolist()) as number[][];
}

function checkTokens(ids: number[][], mask: number[][] | undefined, vocab_size: number, picture: number | null): void {
  const [first] = ids;
  if (!first?.length || ids.some((row) => row.length !== first.length)) {
    const got = `rows of ${ids.map((row) => row.length).join(', ') || 'nothing'}`;
    throw new UserError(`[generate] input_ids: got ${got}, want at least one token, and rows of one length: pad them`);
  }
  const wrong = ids.flat().find((id) => id !== picture && !(Number.isInteger(id) && id >= 0 && id < vocab_size));
  if (wrong !== undefined) throw new UserError(`[generate] input_ids: got ${wrong}, want 0..${vocab_size - 1}`);
  if (mask && mask.map((row) => row.length).join() !== ids.map((row) => row.length).join()) {
    throw new UserError(
      `[generate] attention_mask: got rows of ${mask.map((row) => row.length)}, want the shape of input_ids`,
    );
  }
  if (mask?.some((row) => row.at(-1) === 0)) {
    throw new UserError('[generate] attention_mask: got a row that ends in 0, want padding on the left');
  }
}

/** What a model that sees has beside the others. */
export type Seeing = { image_token_id: number; get_picture_tokens(inputs: Pictures): Tensor[] };
const sees = (model: object): model is Seeing => 'image_token_id' in model;

function pictured(model: CausalLM & Seeing, ids: readonly number[][], inputs: Pictures): Inserts {
  const tokens = model.get_picture_tokens(inputs); // nothing is computed yet
  const pictures = tokens.map(({ shape }, i) => ({ name: String(i), length: shape[0]! }));
  return {
    spans: place(ids, model.image_token_id, pictures),
    async embeds(_, options) {
      const features = concat(model.get_picture_tokens(inputs), 0);
      await run([features], options);
      return features;
    },
  };
}

async function generate(model: CausalLM & { generation_config: Config }, inputs: GenerateInputs & Outputs) {
  checkOptions('generate', inputs, '{ input_ids: [[1, 2, 3]] }', 'inputs');
  const { input_ids, attention_mask, pixel_values, image_sizes, streamer, output_logits = false, ...rest } = inputs;
  const { return_dict_in_generate, ...options } = rest;
  if (streamer !== undefined && typeof streamer?.put !== 'function') {
    throw new UserError(
      `[generate] streamer: got ${describe(streamer)}, want one with put and end: new TextStreamer(...)`,
    );
  }
  const ids = await rowsOf('input_ids', input_ids);
  const given = attention_mask && (await rowsOf('attention_mask', attention_mask));
  if (pixel_values) {
    checkTensors('generate', { pixel_values });
    if (!sees(model)) throw new UserError('[generate] pixel_values: got pictures for a model that sees none');
  }
  const seer = pixel_values && sees(model) ? model : undefined;
  checkTokens(ids, given, model.sizes.vocab_size, seer?.image_token_id ?? null);
  const mask = given?.flat().includes(0) ? given : undefined;
  const generation = settle(options, model.generation_config, model.config);
  const inserts = seer && pictured(seer, ids, { pixel_values: pixel_values!, image_sizes });
  const sequences = ids.map((row) => [...row]);
  const logits: Tensor[] = [];
  const held: { at?: Held | undefined } = {};
  const isKept = output_logits && return_dict_in_generate === true;
  streamer?.put(ids);
  try {
    for await (const step of decode(model, held, { ids, mask, ...inserts }, generation, isKept)) {
      for (const [b, token] of step.tokens.entries()) sequences[b]!.push(token);
      if (step.logits) logits.push(step.logits);
      streamer?.put(step.tokens.map((token) => [token]));
    }
  } catch (error) {
    for (const t of logits) t.dispose();
    throw error;
  } finally {
    forget(held);
  }
  streamer?.end();
  const all = tensor(sequences.flat(), [ids.length, sequences[0]!.length], { dtype: 'i32' });
  if (!return_dict_in_generate) return all;
  return { sequences: all, ...(isKept && { logits: stack(logits, 1) }) };
}

/** Gives a model its generate. */
export async function generative<M extends CausalLM>(
  model: M,
  from: ModelSource,
  options: FromPretrained,
): Promise<Generative<M>> {
  const text = await (await locate(from, options)).folder.text('generation_config.json');
  const generation_config = text === undefined ? {} : (parseObject(text, 'generation_config.json') as Config);
  const whole = Object.assign(model, { generation_config });
  return Object.assign(whole, { generate: (inputs: GenerateInputs) => generate(whole, inputs) }) as Generative<M>;
}
