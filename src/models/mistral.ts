// Mistral, Jiang et al. 2023, arXiv:2310.06825: LLaMA whose tokens see the last `sliding_window` before them, as transformers'
// MistralForCausalLM has it.
import { settings } from '../io/config.ts';
import { type Config, pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { llama } from './llama.ts';

/** What transformers takes where a config is silent: 7B v0.1. null is no window. */
const SIZES = { intermediate_size: 14336, num_key_value_heads: 8, max_position_embeddings: 131072 };
const DEFAULTS = { ...SIZES, sliding_window: 4096 };

export function mistral(w: Weights, config: Config) {
  const all = { ...DEFAULTS, ...config };
  const { sliding_window } = settings('config', { sliding_window: 0 }, all);
  return llama(w, all, sliding_window);
}

export const MistralForCausalLM = pretrained('MistralForCausalLM', mistral);
