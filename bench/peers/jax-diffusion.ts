// Parts of diffusion models as users of jax-js write them, with diffusers' names.
import * as jax from '@jax-js/jax';
import type { ModelCase } from '../cases.ts';
import { LEVEL } from '../models.ts';
import { throughUNet, upDecoder } from './diffusion-walk.ts';
import { type Array_, groupNorm, layerNorm, linearOf, type Weights } from './jax-parts.ts';

const { lax, nn, numpy: np } = jax;

/** Layers that find their weights by name. Each owns the x that it is given; of the time and a context it takes its own. */
function layers(w: Weights, groups: number, eps: number, heads = 1) {
  const linear = linearOf(w);
  const conv = (name: string, x: Array_, stride = 1) => {
    const filter = w[`${name}.weight`];
    const around = filter.shape.slice(2).map((size: number) => [(size - 1) / 2, (size - 1) / 2]);
    return lax.conv(x, filter.ref, [stride, stride], around).add(w[`${name}.bias`].ref.reshape([-1, 1, 1]));
  };
  const group = (name: string, x: Array_, e = eps) =>
    groupNorm(x, w[`${name}.weight`].ref, w[`${name}.bias`].ref, e, groups);
  const activated = (name: string, x: Array_) => nn.silu(group(name, x));
  const norm = (name: string, x: Array_) => layerNorm(x, w[`${name}.weight`].ref, w[`${name}.bias`].ref);

  const resnet = (at: string, x: Array_, temb?: Array_) => {
    let h = conv(`${at}.conv1`, activated(`${at}.norm1`, x.ref));
    if (temb) h = h.add(linear(`${at}.time_emb_proj`, temb.ref).reshape([1, -1, 1, 1]));
    h = conv(`${at}.conv2`, activated(`${at}.norm2`, h));
    return (w[`${at}.conv_shortcut.weight`] ? conv(`${at}.conv_shortcut`, x) : x).add(h);
  };
  const upsample = (at: string, x: Array_) => conv(`${at}.conv`, np.repeat(np.repeat(x, 2, 2), 2, 3));
  const tokens = (x: Array_) => {
    const [B, C, H, W] = x.shape;
    return x.reshape([B, C, H * W]).transpose([0, 2, 1]);
  };
  const pixels = (t: Array_, shape: number[]) => t.transpose([0, 2, 1]).reshape(shape);
  const attention = (at: string, y: Array_, seen: Array_) => {
    const [B, , C] = y.shape;
    const q = linear(`${at}.to_q`, y);
    const [k, v] = [linear(`${at}.to_k`, seen.ref), linear(`${at}.to_v`, seen)];
    const [qh, kh, vh] = [q, k, v].map((t) => t.reshape([B, -1, heads, C / heads]));
    return linear(`${at}.to_out.0`, nn.dotProductAttention(qh, kh, vh).reshape([B, -1, C]));
  };
  const transformer = (name: string, x: Array_, context: Array_) => {
    const at = `${name}.transformer_blocks.0`;
    const { shape } = x;
    const half = 4 * shape[1];
    let t = tokens(conv(`${name}.proj_in`, group(`${name}.norm`, x.ref, 1e-6)));
    const n = norm(`${at}.norm1`, t.ref);
    t = t.add(attention(`${at}.attn1`, n.ref, n));
    t = t.add(attention(`${at}.attn2`, norm(`${at}.norm2`, t.ref), context.ref));
    const both = linear(`${at}.ff.net.0.proj`, norm(`${at}.norm3`, t.ref));
    const gate = nn.gelu(both.ref.slice([], [], [half]), { approximate: false });
    t = t.add(linear(`${at}.ff.net.2`, both.slice([], [], [0, half]).mul(gate)));
    return x.add(conv(`${name}.proj_out`, pixels(t, shape)));
  };
  return { linear, conv, group, activated, resnet, upsample, tokens, pixels, attention, transformer };
}

export function unetLevel() {
  return (w: Weights, x: Array_, temb: Array_, context: Array_): Array_ => {
    const { resnet, transformer } = layers(w, LEVEL.groups, 1e-5, LEVEL.heads);
    const y = transformer('attention', resnet('resnet', x, temb), context);
    for (const t of [temb, context]) t.dispose();
    return y;
  };
}

export function unetStep(model: ModelCase) {
  const { norm_num_groups, norm_eps, attention_head_dim } = model.config;
  return (w: Weights, sample: Array_, time: Array_, context: Array_): Array_ => {
    const of = layers(w, norm_num_groups, norm_eps, attention_head_dim);
    const hidden = nn.silu(of.linear('time_embedding.linear_1', time));
    const temb = nn.silu(of.linear('time_embedding.linear_2', hidden));
    const beside = (x: Array_, state: Array_) => np.concatenate([x, state], 1);
    const y = throughUNet(model, { ...of, beside, again: (x) => x.ref }, sample, temb, context);
    for (const t of [temb, context]) t.dispose();
    return y;
  };
}

export function vaeDecode(model: ModelCase) {
  return (w: Weights, z: Array_): Array_ => {
    const of = layers(w, model.config.norm_num_groups ?? 32, 1e-6);
    const { conv, group, resnet, tokens, pixels, attention } = of;
    let x = resnet('decoder.mid_block.resnets.0', conv('decoder.conv_in', conv('post_quant_conv', z)));
    const middle = 'decoder.mid_block.attentions.0';
    const { shape } = x;
    const t = tokens(group(`${middle}.group_norm`, x.ref));
    x = x.add(pixels(attention(middle, t.ref, t), shape));
    x = resnet('decoder.mid_block.resnets.1', x);
    return upDecoder(model, of, x);
  };
}
