// LLaMA, Touvron et al. 2023, arXiv:2302.13971; its keys and fields are those of transformers' LlamaForCausalLM.
// B = batch, L = tokens, S = those and all before, D = hidden_size, H = heads, d = head_dim, V = vocab_size.
import { settings } from '../io/config.ts';
import { type Config, pretrained } from '../io/pretrained.ts';
import type { Weights } from '../io/weights.ts';
import { activation } from '../nn/activation.ts';
import { mergeHeads, splitHeads } from '../nn/attention.ts';
import { checkInputs, keyMask } from '../nn/embeddings.ts';
import { inWindow, type KVCache, visible } from '../nn/kv-cache.ts';
import { embedding, linear, rmsNorm } from '../nn/layers.ts';
import { rotary, rotate, type Turn } from '../nn/rope.ts';
import type { AttentionOptions } from '../ops/attention.ts';
import { arange, scaled_dot_product_attention } from '../ops/index.ts';
import { checkTensors } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** What transformers takes where a config is silent: 7B. */
const SIZES = { hidden_size: 4096, intermediate_size: 11008, num_hidden_layers: 32, num_attention_heads: 32 };
const OPTIONAL = { num_key_value_heads: undefined, head_dim: undefined } as Record<
  'num_key_value_heads' | 'head_dim',
  number | undefined
>;
const FLAGS = { attention_bias: false, mlp_bias: false, tie_word_embeddings: false };
const REST = { vocab_size: 32000, max_position_embeddings: 2048, rms_norm_eps: 1e-6, hidden_act: 'silu' };
const DEFAULTS = { ...SIZES, ...OPTIONAL, ...FLAGS, ...REST };

export type LlamaInputs = {
  /** Tokens [B, L], or in their place what stands for them, [B, L, D]. */
  input_ids?: Tensor;
  inputs_embeds?: Tensor;
  /**
   * 1 for tokens, 0 for padding: [B, L], with a cache [B, its capacity]; or what each token may see, [B, 1, L, L], as where
   * texts share a row: a window is one of positions then.
   */
  attention_mask?: Tensor | undefined;
  /** [B or 1, L]; by default counted from 0, or from the cache's length on. */
  position_ids?: Tensor | undefined;
  /** What went before; it is written, and its tensors become those that the writes return. */
  past_key_values?: KVCache | undefined;
  /** Frequencies of the rotary positions; by default `model.inv_freq(n)` for the n tokens so far. */
  inv_freq?: Tensor;
  /** Logits of so many last tokens; by default of all. */
  logits_to_keep?: number;
};

type Keep = (k: Tensor, v: Tensor) => readonly [Tensor, Tensor];
type Shape = ReturnType<typeof sizes>;

function sizes(config: Config) {
  const c = settings('config', DEFAULTS, config);
  const head_dim = c.head_dim || c.hidden_size / c.num_attention_heads;
  const num_key_value_heads = c.num_key_value_heads || c.num_attention_heads;
  if (!Number.isInteger(head_dim) || c.num_attention_heads % num_key_value_heads !== 0) {
    const got = `${c.num_attention_heads} heads, ${num_key_value_heads} of keys, for a width of ${c.hidden_size}`;
    throw new RangeError(`[config] num_attention_heads: got ${got}, want them to divide it`);
  }
  return { ...c, head_dim, num_key_value_heads };
}

function selfAttention(w: Weights, c: Shape) {
  const { hidden_size: D, num_attention_heads: H, num_key_value_heads: shared, head_dim: d } = c;
  const bias = c.attention_bias;
  const q_proj = linear(w.at('q_proj'), D, H * d, { bias });
  const k_proj = linear(w.at('k_proj'), D, shared * d, { bias });
  const v_proj = linear(w.at('v_proj'), D, shared * d, { bias });
  const o_proj = linear(w.at('o_proj'), H * d, D, { bias });
  return (x: Tensor, turn: Turn, keep: Keep, seen: AttentionOptions) => {
    const q = rotate(splitHeads(q_proj(x), H), turn); // [B, H, L, d]
    const [k, v] = keep(rotate(splitHeads(k_proj(x), shared), turn), splitHeads(v_proj(x), shared)); // [B, shared, S, d]
    return o_proj(mergeHeads(scaled_dot_product_attention(q, k, v, { ...seen, enable_gqa: true })));
  };
}

function mlp(w: Weights, { hidden_size: D, intermediate_size: F, hidden_act, mlp_bias: bias }: Shape) {
  const gate_proj = linear(w.at('gate_proj'), D, F, { bias });
  const up_proj = linear(w.at('up_proj'), D, F, { bias });
  const down_proj = linear(w.at('down_proj'), F, D, { bias });
  const act = activation(hidden_act);
  return (x: Tensor) => down_proj(act(gate_proj(x)).mul(up_proj(x)));
}

function decoderLayer(w: Weights, c: Shape) {
  const input_layernorm = rmsNorm(w.at('input_layernorm'), c.hidden_size, c.rms_norm_eps);
  const attention = selfAttention(w.at('self_attn'), c);
  const post_attention_layernorm = rmsNorm(w.at('post_attention_layernorm'), c.hidden_size, c.rms_norm_eps);
  const feedForward = mlp(w.at('mlp'), c);
  return (x: Tensor, ...rest: [Turn, Keep, AttentionOptions]) => {
    const h = x.add(attention(input_layernorm(x), ...rest));
    return h.add(feedForward(post_attention_layernorm(h)));
  };
}

/** `window`: each token sees only so many, itself the last of them; 0 for all before it. */
export function llama(w: Weights, config: Config, window = 0) {
  const c = sizes(config);
  const { hidden_size: D, vocab_size: V, max_position_embeddings } = c;
  const m = w.at('model');
  const embed_tokens = embedding(m.at('embed_tokens'), V, D);
  const layers = Array.from({ length: c.num_hidden_layers }, (_, i) => decoderLayer(m.at('layers').at(i), c));
  const norm = rmsNorm(m.at('norm'), D, c.rms_norm_eps);
  const head = w.at('lm_head');
  const lm_head = linear(c.tie_word_embeddings ? m.at('embed_tokens').as(head) : head, D, V, { bias: false });
  const { inv_freq, turn } = rotary(config, c.head_dim, max_position_embeddings);

  const forward = (inputs: LlamaInputs) => {
    const needed = inputs?.inputs_embeds ? 'inputs_embeds' : 'input_ids';
    const { attention_mask, past_key_values: cache, position_ids, ...rest } = checkInputs('llama', inputs, needed);
    checkTensors('llama', {}, { attention_mask, position_ids });
    let x = rest.inputs_embeds ?? embed_tokens(rest.input_ids!); // [B, L, D]
    const L = x.shape[1]!;
    const past = cache?.length ?? 0;
    const counted = arange(L).add(past).unsqueeze(0);
    const positions = position_ids ?? counted;
    const frequency = rest.inv_freq ?? inv_freq(Number(past) + L);
    const turned = turn(positions, frequency);
    const mask = cache ? visible(cache, L, attention_mask) : keyMask(attention_mask);
    const places = attention_mask?.rank === 4 ? positions : counted;
    const near =
      window > 0 ? inWindow(window, cache ? arange(cache.capacity).unsqueeze(0) : places, places) : undefined;
    const seen = { attn_mask: near && mask ? near.where(mask, false) : (near ?? mask), is_causal: !cache };
    const hidden_states = [x];
    for (const [i, layer] of layers.entries()) {
      x = layer(x, turned, (k, v) => cache?.update(i, k, v) ?? [k, v], seen);
      hidden_states.push(x);
    }
    const last_hidden_state = norm(x); // [B, L, D]
    hidden_states[layers.length] = last_hidden_state;
    const logits = lm_head(last_hidden_state.slice(1, rest.logits_to_keep ? -rest.logits_to_keep : 0)); // [B, L, V]
    return { logits, last_hidden_state, hidden_states };
  };
  const dummy_inputs = { input_ids: [1, Math.min(512, max_position_embeddings)] };
  return { forward, embed_tokens, lm_head, inv_freq, sizes: c, dummy_inputs };
}

export const LlamaForCausalLM = pretrained('LlamaForCausalLM', llama);
