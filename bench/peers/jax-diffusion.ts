// Parts of diffusion models as users of jax-js write them, with diffusers' names.
import * as jax from '@jax-js/jax';
import type { ModelCase } from '../cases.ts';
import { LEVEL } from '../models.ts';
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

export function unetStep({ config: c }: ModelCase) {
  return (w: Weights, sample: Array_, time: Array_, context: Array_): Array_ => {
    const { linear, conv, activated, resnet, upsample, transformer } = layers(
      w,
      c.norm_num_groups,
      c.norm_eps,
      c.attention_head_dim,
    );
    const down: string[] = c.down_block_types;
    const up: string[] = c.up_block_types;
    const count: number = c.layers_per_block;
    const hidden = nn.silu(linear('time_embedding.linear_1', time));
    const temb = nn.silu(linear('time_embedding.linear_2', hidden));
    const layer = (at: string, j: number, type: string, y: Array_) => {
      const h = resnet(`${at}.resnets.${j}`, y, temb);
      return type.startsWith('CrossAttn') ? transformer(`${at}.attentions.${j}`, h, context) : h;
    };
    let x = conv('conv_in', sample);
    const states = [x.ref];
    for (const [i, type] of down.entries()) {
      const at = `down_blocks.${i}`;
      for (let j = 0; j < count; j++) {
        x = layer(at, j, type, x);
        states.push(x.ref);
      }
      if (i === down.length - 1) continue;
      x = conv(`${at}.downsamplers.0.conv`, x, 2);
      states.push(x.ref);
    }
    x = transformer('mid_block.attentions.0', resnet('mid_block.resnets.0', x, temb), context);
    x = resnet('mid_block.resnets.1', x, temb);
    for (const [i, type] of up.entries()) {
      const at = `up_blocks.${i}`;
      for (let j = 0; j <= count; j++) x = layer(at, j, type, np.concatenate([x, states.pop()], 1));
      if (i < up.length - 1) x = upsample(`${at}.upsamplers.0`, x);
    }
    for (const t of [temb, context]) t.dispose();
    return conv('conv_out', activated('conv_norm_out', x));
  };
}

export function vaeDecode({ config: c }: ModelCase) {
  const levels: number = c.block_out_channels.length;
  return (w: Weights, z: Array_): Array_ => {
    const { conv, group, activated, resnet, upsample, tokens, pixels, attention } = layers(
      w,
      c.norm_num_groups ?? 32,
      1e-6,
    );
    let x = resnet('decoder.mid_block.resnets.0', conv('decoder.conv_in', conv('post_quant_conv', z)));
    const middle = 'decoder.mid_block.attentions.0';
    const { shape } = x;
    const t = tokens(group(`${middle}.group_norm`, x.ref));
    x = x.add(pixels(attention(middle, t.ref, t), shape));
    x = resnet('decoder.mid_block.resnets.1', x);
    for (let i = 0; i < levels; i++) {
      const at = `decoder.up_blocks.${i}`;
      for (let j = 0; j <= c.layers_per_block; j++) x = resnet(`${at}.resnets.${j}`, x);
      if (i < levels - 1) x = upsample(`${at}.upsamplers.0`, x);
    }
    return conv('decoder.conv_out', activated('decoder.conv_norm_out', x));
  };
}
