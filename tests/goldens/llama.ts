// LLaMA in transformers.
import { LlamaForCausalLM } from '../../src/index.ts';
import { type Family, family, isBoolean, method } from './family.ts';

type Model = Awaited<ReturnType<typeof LlamaForCausalLM.from_pretrained>>;

export const llama: Record<string, Family> = {
  LlamaForCausalLM: family(async ({ checkpoint }) => LlamaForCausalLM.from_pretrained(await checkpoint()), {
    forward: method({
      inputs: ['input_ids', 'attention_mask?', 'position_ids?'],
      args: { output_hidden_states: isBoolean, kept: (value) => value === 'logits where the mask is 1' },
      run(model: Model, inputs, { kept }) {
        const { logits, last_hidden_state, hidden_states } = model.forward(inputs);
        const states = hidden_states.map((state, i) => [`hidden_states.${i}`, state]);
        const shown = kept ? logits.mul(inputs.attention_mask!.unsqueeze(-1)) : logits;
        return { logits: shown, last_hidden_state, ...Object.fromEntries(states) };
      },
    }),
    'model.rotary_emb.inv_freq': method({ run: (model: Model) => ({ inv_freq: model.inv_freq(0) }) }),
  }),
};
