// Diffusers before 0.13 (its _convert_deprecated_attention_blocks): the attention of autoencoders as query, key, value and
// proj_attn, which may be 1 x 1 convolutions.
import type { Layout, Rule, Shapes } from './layout.ts';

const NAMES = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' };
const PLACES = ['encoder.mid_block', 'decoder.mid_block'];

const rules = PLACES.flatMap((place) =>
  Object.entries(NAMES).flatMap(([from, to]): Rule[] => {
    const [old, today] = [`${place}.attentions.*.${from}`, `${place}.attentions.*.${to}`];
    return [
      { from: `${old}.weight`, to: `${today}.weight`, reshape: (shape) => shape.slice(0, 2) },
      { from: `${old}.bias`, to: `${today}.bias` },
    ];
  }),
);

export const diffusersAttention: Layout = {
  name: 'diffusers-attention',
  detect: (shapes: Shapes) => [...shapes.keys()].some((name) => name.endsWith('.proj_attn.weight')),
  rules,
  rest: 'keep',
};
