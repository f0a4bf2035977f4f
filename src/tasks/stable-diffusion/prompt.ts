// What is asked for, as the U-Net reads it: CLIP's last hidden state of every token, padding too.
import { run } from '../../exec/run.ts';
import { UserError } from '../../io/error.ts';
import { tensor } from '../../ops/index.ts';
import { describe } from '../../tensor/check.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Parts } from './parts.ts';

export type PromptOptions = {
  /** Takes the hidden state of so many layers before the last one. */
  clip_skip?: number | undefined;
  /** Is told what was cut off a prompt that is too long; by default the console. */
  on_warning?: ((text: string) => void) | undefined;
  signal?: AbortSignal | undefined;
};

/** Texts as rows of ids, each as long as the model takes; what does not fit is cut, and told. */
export function promptIds({ tokenizer, text_encoder }: Parts, texts: readonly string[], options: PromptOptions = {}) {
  const { on_warning = (text: string) => console.warn(text) } = options;
  const most = Math.min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings ?? 77);
  const bad = texts.find((text) => typeof text !== 'string');
  if (bad !== undefined) throw new UserError(`[prompt] got ${describe(bad)}, want a text`);
  for (const text of texts) {
    const ids = tokenizer.encode(text, { add_special_tokens: false });
    const cut = ids.slice(most - 2);
    if (cut.length === 0) continue;
    const lost = tokenizer.decode(cut).trim();
    on_warning(`[prompt] got ${ids.length} tokens, ${most - 2} fit; cut off: ${JSON.stringify(lost)}`);
  }
  return tokenizer([...texts], { padding: 'max_length', truncation: true, max_length: most }).input_ids;
}

/** [texts, L, D]. */
export async function encodePrompts(
  parts: Parts,
  texts: readonly string[],
  options: PromptOptions = {},
): Promise<Tensor> {
  const { clip_skip = 0, signal } = options;
  const ids = promptIds(parts, texts, options);
  using input_ids = tensor(ids, { dtype: 'i32' });
  const { last_hidden_state, hidden_states } = parts.text_encoder.forward({ input_ids });
  const skipped = hidden_states.at(-1 - clip_skip);
  if (!Number.isInteger(clip_skip) || clip_skip < 0 || !skipped) {
    throw new UserError(`[prompt] clip_skip: got ${clip_skip}, want 0 to ${hidden_states.length - 1}`);
  }
  const states = clip_skip === 0 ? last_hidden_state : parts.text_encoder.final_layer_norm(skipped);
  await run([states], { signal });
  return states;
}
