// Tokens from a causal model. The host reads them some steps behind the device, and what it did not read does not count.
import { run } from '../exec/run.ts';
import { DeviceLost } from '../gpu/device.ts';
import { UserError } from '../io/error.ts';
import { KVCache } from '../nn/kv-cache.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type CausalLM, capacityFor, Decoder, forgetSteps, integers, type Prompt } from './decoder.ts';
import { firstBroken } from './finite.ts';
import type { Generation } from './generation-config.ts';
import { commonLength, type Row } from './spans.ts';
import type { Values } from './steps.ts';

/** A cache and the row that it holds. */
export type Held = { cache: KVCache } & Row;

export type Step = { tokens: number[]; logits?: Tensor };

const AHEAD = 2; // steps that are under way while the host waits for a token

/**
 * The tokens that follow a prompt, of all rows at once. What `held` holds already of a single row is not computed again.
 * Ends at the first eos (of every row), or at the limit; however it ends, `held` says what its cache holds. After the loss
 * of the device it goes on with a new cache. Throws where the logits are no numbers.
 */
export async function* decode(
  model: CausalLM,
  held: { at?: Held | undefined },
  prompt: Prompt,
  generation: Generation,
  output_logits = false,
): AsyncGenerator<Step> {
  const ids = prompt.ids.map((row) => [...row]);
  const mask = prompt.mask?.map((row) => [...row]);
  const isOpen = ids.map(() => true);
  for (let left = generation.max_new_tokens, losses = 0; left > 0 && isOpen.includes(true); ) {
    try {
      for await (const step of attempt(
        model,
        held,
        { ...prompt, ids, mask },
        isOpen,
        { ...generation, max_new_tokens: left },
        output_logits,
      )) {
        losses = 0;
        left--;
        for (const [b, token] of step.tokens.entries()) {
          ids[b]!.push(token);
          mask?.[b]?.push(1);
          if (generation.eos_token_id.includes(token)) isOpen[b] = false;
        }
        yield step;
        if (!isOpen.includes(true)) return;
      }
    } catch (error) {
      if (generation.signal?.aborted) throw error;
      forget(held);
      if (!(error instanceof DeviceLost) || losses++ > 0) throw error;
      forgetSteps(model);
      await run([...model.named_parameters().values()].slice(0, 1)); // the model comes back as a whole
    }
  }
}

export function forget(held: { at?: Held | undefined }): void {
  held.at?.cache.dispose();
  held.at = undefined;
}

/** Until the end or a loss of the device. */
async function* attempt(
  model: CausalLM,
  held: { at?: Held | undefined },
  prompt: Prompt,
  isOpen: readonly boolean[],
  generation: Generation,
  output_logits: boolean,
): AsyncGenerator<Step> {
  const B = prompt.ids.length;
  const isSingle = B === 1 && !prompt.mask;
  const first = [...prompt.ids[0]!];
  const { max_new_tokens } = generation;
  if (!isSingle) forget(held);
  held.at ??= { cache: await KVCache.empty(model.sizes, B, capacityFor(first.length), model.device), ids: [] };
  const at = held.at;
  const { spans } = prompt;
  const known = Math.min(commonLength(at, { ids: first, spans }), first.length - 1); // the last one gives the logits
  at.ids = at.ids.slice(0, known);
  using decoder = new Decoder(
    model,
    at.cache,
    at.ids.length,
    { ...prompt, ids: prompt.ids.map((row) => [...row]), mask: prompt.mask?.map((row) => [...row]) },
    generation,
    output_logits,
  );
  const read: number[] = []; // of the first row
  const flying: { next: Tensor; token: Promise<ArrayLike<number>>; logits: Tensor | undefined }[] = [];
  const fly = ({ next, logits }: Values) => {
    const token = next!.data();
    token.catch(() => {}); // whoever waits for it hears of it
    flying.push({ next: next!, token, logits });
  };
  try {
    fly(await decoder.start(isOpen));
    for (let sent = 1; read.length < max_new_tokens; ) {
      for (; sent < max_new_tokens && flying.length <= AHEAD; sent++) fly(await decoder.step());
      const { next, token, logits } = flying.shift()!;
      const tokens = Array.from(await token);
      if (next !== decoder.next) next.dispose();
      generation.signal?.throwIfAborted();
      if (tokens.includes(-1)) throw new UserError(await notFinite(model, prompt.ids));
      read.push(tokens[0]!);
      yield { tokens, ...(logits && { logits }) };
    }
  } finally {
    await Promise.allSettled(flying.map(({ token }) => token));
    for (const t of flying.flatMap(({ next, logits }) => [next, logits])) t?.dispose();
    at.ids = [...first, ...read].slice(0, decoder.length); // what was sent and never read does not count
    at.spans = spans?.filter(({ start }) => start < decoder.length);
    if (!isSingle) forget(held);
  }
}

/** Where the numbers end, found by a run of its own. */
async function notFinite(model: CausalLM, ids: readonly number[][]): Promise<string> {
  using few = integers(ids.map((row) => row.slice(0, 16)));
  const { hidden_states } = model.forward({ input_ids: few });
  const at = await firstBroken(hidden_states);
  const last = hidden_states.length - 1;
  const where =
    at < 0
      ? 'after the final norm'
      : at === 0
        ? 'from the embeddings on'
        : at === last
          ? `in layer ${at - 1} or the final norm`
          : `from layer ${at - 1} on`;
  return `[generate] the logits are not numbers (${where}): are the weights damaged, or too large for their type?`;
}
