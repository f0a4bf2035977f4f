// Parts of diffusion models as users of TensorFlow.js write them, with diffusers' names.
import * as tf from '@tensorflow/tfjs-core';
import type { ModelCase } from '../cases.ts';
import { LEVEL } from '../models.ts';
import { throughUNet, upDecoder } from './diffusion-walk.ts';
import { attention as attend, gelu, layerNorm, linearOf, type T, type Weights } from './tfjs-parts.ts';

const silu = (x: T): T => tf.mul(x, tf.sigmoid(x));

/** Core has no group norm. */
function groupNorm(x: T, w: T, b: T, eps: number, groups: number): T {
  const [B, H, W, C] = x.shape;
  const grouped = tf.reshape(x, [B, H * W, groups, C / groups]);
  const { mean, variance } = tf.moments(grouped, [1, 3], true);
  const y = tf.reshape(tf.mul(tf.sub(grouped, mean), tf.rsqrt(tf.add(variance, eps))), x.shape);
  return tf.add(tf.mul(y, w), b);
}

/** Layers that find their weights by name. */
function layers(w: Weights, groups: number, eps: number, heads = 1) {
  const linear = linearOf(w);
  const conv = (name: string, x: T, strides = 1) => {
    const [filter, bias] = [w[`${name}.weight`], w[`${name}.bias`]];
    return tf.fused.conv2d({ x, filter, strides, pad: (filter.shape[0] - 1) / 2, bias });
  };
  const group = (name: string, x: T, e = eps) => groupNorm(x, w[`${name}.weight`], w[`${name}.bias`], e, groups);
  const activated = (name: string, x: T) => silu(group(name, x));
  const norm = (name: string, x: T) => layerNorm(x, w[`${name}.weight`], w[`${name}.bias`]);

  const resnet = (at: string, x: T, temb?: T): T => {
    let h = conv(`${at}.conv1`, activated(`${at}.norm1`, x));
    if (temb) h = tf.add(h, tf.reshape(linear(`${at}.time_emb_proj`, temb), [1, 1, 1, -1]));
    h = conv(`${at}.conv2`, activated(`${at}.norm2`, h));
    return tf.add(w[`${at}.conv_shortcut.weight`] ? conv(`${at}.conv_shortcut`, x) : x, h);
  };
  const upsample = (at: string, x: T): T => {
    const [, H, W] = x.shape;
    return conv(`${at}.conv`, tf.image.resizeNearestNeighbor(x, [2 * H, 2 * W]));
  };
  const tokens = (x: T): T => tf.reshape(x, [x.shape[0], -1, x.shape[3]]);
  const attention = (at: string, y: T, seen: T): T => {
    const [B, , C] = y.shape;
    const split = (t: T) => tf.transpose(tf.reshape(t, [B, -1, heads, C / heads]), [0, 2, 1, 3]);
    const [q, k, v] = [linear(`${at}.to_q`, y), linear(`${at}.to_k`, seen), linear(`${at}.to_v`, seen)].map(split);
    const attended = tf.transpose(attend(q, k, v), [0, 2, 1, 3]);
    return linear(`${at}.to_out.0`, tf.reshape(attended, [B, -1, C]));
  };
  const transformer = (name: string, x: T, context: T): T => {
    const at = `${name}.transformer_blocks.0`;
    let t = tokens(conv(`${name}.proj_in`, group(`${name}.norm`, x, 1e-6)));
    const n = norm(`${at}.norm1`, t);
    t = tf.add(t, attention(`${at}.attn1`, n, n));
    t = tf.add(t, attention(`${at}.attn2`, norm(`${at}.norm2`, t), context));
    const [a, gate] = tf.split(linear(`${at}.ff.net.0.proj`, norm(`${at}.norm3`, t)), 2, -1);
    t = tf.add(t, linear(`${at}.ff.net.2`, tf.mul(a, gelu(gate))));
    return tf.add(x, conv(`${name}.proj_out`, tf.reshape(t, x.shape)));
  };
  return { linear, conv, group, activated, resnet, upsample, tokens, attention, transformer };
}

export function unetLevel() {
  return (w: Weights, x: T, temb: T, context: T): T => {
    const { resnet, transformer } = layers(w, LEVEL.groups, 1e-5, LEVEL.heads);
    return transformer('attention', resnet('resnet', x, temb), context);
  };
}

export function unetStep(model: ModelCase) {
  const { norm_num_groups, norm_eps, attention_head_dim } = model.config;
  return (w: Weights, sample: T, time: T, context: T): T => {
    const of = layers(w, norm_num_groups, norm_eps, attention_head_dim);
    const temb = silu(of.linear('time_embedding.linear_2', silu(of.linear('time_embedding.linear_1', time))));
    const beside = (x: T, state: T): T => tf.concat([x, state], 3);
    return throughUNet(model, { ...of, beside, again: (x) => x }, sample, temb, context);
  };
}

export function vaeDecode(model: ModelCase) {
  return (w: Weights, z: T): T => {
    const of = layers(w, model.config.norm_num_groups ?? 32, 1e-6);
    const { conv, group, resnet, tokens, attention } = of;
    let x = resnet('decoder.mid_block.resnets.0', conv('decoder.conv_in', conv('post_quant_conv', z)));
    const middle = 'decoder.mid_block.attentions.0';
    const t = tokens(group(`${middle}.group_norm`, x));
    x = tf.add(x, tf.reshape(attention(middle, t, t), x.shape));
    x = resnet('decoder.mid_block.resnets.1', x);
    return upDecoder(model, of, x);
  };
}
