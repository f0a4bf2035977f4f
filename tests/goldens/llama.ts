// LLaMA and the choice of tokens in transformers.
import { AutoModelForCausalLM, type Tensor } from '../../src/index.ts';
import { process, processorsOf, type Sampling } from '../../src/tasks/sampling.ts';
import { type Family, family, isBoolean, method } from './family.ts';

type Model = Awaited<ReturnType<typeof AutoModelForCausalLM.from_pretrained>>;

const isNumber = (value: unknown) => typeof value === 'number';
const PROCESSORS = ['repetition_penalty', 'temperature', 'top_k', 'top_p', 'min_p'];
const isProcessor = Object.fromEntries(PROCESSORS.map((name) => [name, isNumber]));

const causalLM = family(async ({ checkpoint }) => AutoModelForCausalLM.from_pretrained(await checkpoint()), {
  forward: method({
    inputs: ['input_ids', 'attention_mask?', 'position_ids?'],
    args: { output_hidden_states: isBoolean, kept: (value) => value === 'logits where the mask is 1' },
    async run(model: Model, inputs, { kept }) {
      const positions = inputs.position_ids && [...(await inputs.position_ids.data())];
      const inv_freq = positions && model.inv_freq(Math.max(...positions) + 1); // as 'dynamic' has them
      const { logits, last_hidden_state, hidden_states } = model.forward({
        ...inputs,
        ...(inv_freq && { inv_freq }),
      });
      const states = hidden_states.map((state, i) => [`hidden_states.${i}`, state]);
      const shown = kept ? logits.mul(inputs.attention_mask!.unsqueeze(-1)) : logits;
      return { logits: shown, last_hidden_state, ...Object.fromEntries(states) };
    },
  }),
  generate: method({
    inputs: ['input_ids', 'attention_mask?'],
    args: {
      ...isProcessor,
      ...{ max_new_tokens: isNumber, do_sample: (value) => value === false, pad_token_id: isNumber },
      eos_token_id: (value) => [value].flat().every(isNumber),
    },
    run: (model: Model, inputs, args, wanted) =>
      model.generate({ ...inputs, ...args, output_logits: wanted.includes('logits'), return_dict_in_generate: true }),
  }),
  'model.rotary_emb.inv_freq': method({ run: (model: Model) => ({ inv_freq: model.inv_freq(0) }) }),
});

export const llama: Record<string, Family> = {
  LlamaForCausalLM: causalLM,
  MistralForCausalLM: causalLM,

  LogitsProcessorList: family(async () => ({}), {
    'LogitsProcessorList.__call__': method({
      inputs: ['logits', 'input_ids'],
      args: isProcessor,
      run(_: object, { logits, input_ids }: { logits: Tensor; input_ids: Tensor }, args) {
        const sampling = args as Sampling;
        const seen = { ids: input_ids, count: input_ids.shape[1]! };
        const scores = process(logits, processorsOf(sampling, logits.shape[1]!), sampling, seen);
        const kept = scores.gt(-3e38);
        return { scores: kept.where(scores, 0), kept, probs: scores.softmax(-1) };
      },
    }),
  }),
};
