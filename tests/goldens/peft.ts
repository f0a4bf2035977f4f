// LoRA adapters on LLaMA, as PEFT runs and trains them.
import { cross_entropy, LlamaForCausalLM, type Tensor } from '../../src/index.ts';
import { type Family, family, method } from './family.ts';
import type { CaseFiles } from './files.ts';
import { isAdamW, train } from './train.ts';

type Model = Awaited<ReturnType<typeof LlamaForCausalLM.from_pretrained>> & { names: string[] };

const isNames = (value: unknown) => Array.isArray(value) && value.every((name) => typeof name === 'string');

/** The model with every adapter that lies beside it, none of them active. */
export async function withAdapters(files: CaseFiles, dtype: 'f32' | 'q8' = 'f32'): Promise<Model> {
  const model = await LlamaForCausalLM.from_pretrained(await files.checkpoint(), { dtype });
  const names: string[] = [];
  for (const name of ['adapter', 'adapter_a', 'adapter_b']) {
    if (!(await files.read(`${name}/adapter_config.json`))) continue;
    await model.load_adapter(await files.checkpoint(name), name);
    names.push(name);
  }
  model.set_adapters([]);
  return Object.assign(model, { names });
}

/** The mean of -log p of each next token, those of label -100 left out, as transformers' causal models have it. */
export function loss(model: Model, { input_ids, labels }: { input_ids: Tensor; labels: Tensor }): Tensor {
  const { logits } = model.forward({ input_ids });
  const V = logits.shape.at(-1)!;
  return cross_entropy(logits.slice(1, 0, -1).reshape([-1, V]), labels.slice(1, 1).reshape([-1]));
}

export const peft: Record<string, Family> = {
  PeftModelForCausalLM: family((files) => withAdapters(files), {
    forward: method({
      inputs: ['input_ids'],
      args: { adapters: isNames },
      run(model: Model, inputs, { adapters }) {
        model.set_adapters(adapters as string[]);
        return { logits: model.forward(inputs).logits };
      },
    }),
    merge_and_unload: method({
      inputs: ['input_ids'],
      args: { adapters: isNames, q_proj: (value) => typeof value === 'string' },
      async run(model: Model, inputs, { adapters, q_proj }) {
        model.set_adapters(adapters as string[]);
        await model.merge_adapter();
        const outputs = {
          logits: await model.forward(inputs).logits.realize(),
          q_proj: await model
            .named_parameters()
            .get(q_proj as string)!
            .add(0)
            .realize(),
        };
        await model.unmerge_adapter();
        return outputs;
      },
    }),
    'forward, backward, step': method({
      inputs: ['input_ids', 'labels'],
      args: isAdamW,
      run(model: Model, inputs, args, wanted) {
        model.set_adapters(model.names);
        const trained = { named_parameters: () => model.get_adapter_state_dict(model.names[0]!) };
        return train(trained, () => loss(model, inputs), args, wanted);
      },
    }),
  }),
};
