// What passes through the parts of a model, seen from outside.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AutoModelForCausalLM, CLIPVisionModel, run, type Tensor, tensor, zeros } from '../../src/index.ts';
import { golden } from './support.ts';

type Model = Awaited<ReturnType<typeof AutoModelForCausalLM.from_pretrained>>;
let model: Model;
beforeAll(async () => {
  model = await AutoModelForCausalLM.from_pretrained(golden('llama-gqa'));
});
afterAll(() => model.dispose());

const input_ids = () => tensor([[1, 17, 42, 5, 9]], { dtype: 'i32' });
const values = async (t: Tensor) => [...(await t.data())];

describe('tap', () => {
  it('gives what a block hands on, as hidden_states has it', async () => {
    using first = model.tap('model.layers.0');
    using last = model.tap('model.layers.1');
    const { hidden_states } = model.forward({ input_ids: input_ids() });
    expect(first.input).toBe(hidden_states[0]);
    expect(first.output).toBe(hidden_states[1]);
    expect(last.input).toBe(hidden_states[1]);
    using norm = model.tap('model.norm');
    const again = model.forward({ input_ids: input_ids() });
    expect(norm.input).toBe(last.output);
    expect(norm.output).toBe(again.last_hidden_state);
  });

  it('tells embeddings from the output layer that is tied to them', async () => {
    expect(model.config.tie_word_embeddings).toBe(true);
    using embed = model.tap('model.embed_tokens');
    using head = model.tap('lm_head');
    const { logits, hidden_states } = model.forward({ input_ids: input_ids() });
    expect(embed.output).toBe(hidden_states[0]);
    expect(head.output).toBe(logits);
  });

  it('gives attention maps, and the values that the result is made of', async () => {
    using tap = model.tap('model.layers.1.self_attn');
    const { logits, hidden_states } = model.forward({ input_ids: input_ids() });
    const [map, ...more] = tap.attentions as [Tensor];
    expect(more).toEqual([]);
    await run([logits, map, tap.output, hidden_states[1]!]);
    const { num_attention_heads: H } = model.config;
    expect(map.shape).toEqual([1, H, 5, 5]);
    const p = await values(map);
    for (let row = 0; row < H * 5; row++) {
      const i = row % 5;
      const [seen, hidden] = [p.slice(5 * row, 5 * row + i + 1), p.slice(5 * row + i + 1, 5 * row + 5)];
      expect(seen.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
      expect(hidden.every((v) => v === 0)).toBe(true);
    }
    // p v through o_proj, by other means
    const w = (name: string) => model.named_parameters().get(`model.layers.1.self_attn.${name}.weight`)!;
    const { num_key_value_heads: shared } = model.sizes;
    const v = tap.input.matmul(w('v_proj').transpose(0, 1)).reshape([1, 5, shared, -1]).transpose(1, 2);
    const all = v
      .unsqueeze(2)
      .expand([1, shared, H / shared, 5, v.shape[3]!])
      .reshape([1, H, 5, -1]);
    const y = map.matmul(all).transpose(1, 2).flatten(2).matmul(w('o_proj').transpose(0, 1));
    const want = await values(tap.output);
    for (const [i, got] of (await values(y)).entries()) expect(got).toBeCloseTo(want[i]!, 5);
  });

  it('changes nothing: the same ops, the same bits', async () => {
    const before = await values(model.forward({ input_ids: input_ids() }).logits);
    const tap = model.tap('model.layers.0.mlp');
    const { logits } = model.forward({ input_ids: input_ids() });
    await run([logits, tap.output]);
    expect(await values(logits)).toEqual(before);
    const seen = tap.output;
    tap.close();
    model.forward({ input_ids: input_ids() });
    expect(tap.output).toBe(seen); // looks no more
  });

  it('sees nothing of recordings, which have no values', async () => {
    using tap = model.tap('model.layers.0.self_attn.q_proj');
    await model.generate({ input_ids: [[1, 2, 3]], max_new_tokens: 4, eos_token_id: [] });
    const { logits } = model.forward({ input_ids: input_ids() });
    await run([logits, tap.output]);
    expect(tap.output.shape).toEqual([1, 5, model.config.num_attention_heads * model.sizes.head_dim]);
  });

  it('looks into towers of pictures too', async () => {
    using clip = await CLIPVisionModel.from_pretrained(golden('clip-vision'));
    const size = clip.config.image_size as number;
    const layer = [...clip.named_parameters().keys()].find((name) => name.includes('layers.0.self_attn'))!;
    using tap = clip.tap(layer.slice(0, layer.indexOf('.self_attn') + 10));
    const { last_hidden_state } = clip.forward({ pixel_values: zeros([2, 3, size, size]) });
    expect(tap.output.shape).toEqual(last_hidden_state.shape);
    expect(tap.attentions.map(({ shape }) => shape[0])).toEqual([2]);
  });

  it('says what there is instead of a name', () => {
    expect(() => model.tap('model.layers.7')).toThrow("got 'model.layers.7', want model.layers and one of 0, 1");
    expect(() => model.tap('transformer.h')).toThrow('want a path that begins with model');
    using tap = model.tap('model');
    expect(() => tap.output).toThrow('nothing has passed through it; call forward first');
  });
});
