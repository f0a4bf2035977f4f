// The way through a U-Net and a decoder by their configs, which is the same whoever computes the blocks.
import type { ModelCase } from '../cases.ts';

type Blocks<T> = {
  conv(name: string, x: T, stride?: number): T;
  activated(name: string, x: T): T;
  resnet(name: string, x: T, temb?: T): T;
  upsample(name: string, x: T): T;
};
type UNetBlocks<T> = Blocks<T> & {
  transformer(name: string, x: T, context: T): T;
  /** Channels of both, side by side. */
  beside(x: T, state: T): T;
  /** x for a second reader. */
  again(x: T): T;
};

export function throughUNet<T>({ config: c }: ModelCase, blocks: UNetBlocks<T>, sample: T, temb: T, context: T): T {
  const { conv, activated, resnet, upsample, transformer, beside, again } = blocks;
  const down: string[] = c.down_block_types;
  const up: string[] = c.up_block_types;
  const count: number = c.layers_per_block;
  const layer = (at: string, j: number, type: string, y: T) => {
    const h = resnet(`${at}.resnets.${j}`, y, temb);
    return type.startsWith('CrossAttn') ? transformer(`${at}.attentions.${j}`, h, context) : h;
  };
  let x = conv('conv_in', sample);
  const states = [again(x)];
  for (const [i, type] of down.entries()) {
    const at = `down_blocks.${i}`;
    for (let j = 0; j < count; j++) {
      x = layer(at, j, type, x);
      states.push(again(x));
    }
    if (i === down.length - 1) continue;
    x = conv(`${at}.downsamplers.0.conv`, x, 2);
    states.push(again(x));
  }
  x = transformer('mid_block.attentions.0', resnet('mid_block.resnets.0', x, temb), context);
  x = resnet('mid_block.resnets.1', x, temb);
  for (const [i, type] of up.entries()) {
    const at = `up_blocks.${i}`;
    for (let j = 0; j <= count; j++) x = layer(at, j, type, beside(x, states.pop()!));
    if (i < up.length - 1) x = upsample(`${at}.upsamplers.0`, x);
  }
  return conv('conv_out', activated('conv_norm_out', x));
}

/** From behind the middle of a decoder to its picture. */
export function upDecoder<T>({ config: c }: ModelCase, { conv, activated, resnet, upsample }: Blocks<T>, x: T): T {
  const levels: number = c.block_out_channels.length;
  for (let i = 0; i < levels; i++) {
    const at = `decoder.up_blocks.${i}`;
    for (let j = 0; j <= c.layers_per_block; j++) x = resnet(`${at}.resnets.${j}`, x);
    if (i < levels - 1) x = upsample(`${at}.upsamplers.0`, x);
  }
  return conv('decoder.conv_out', activated('decoder.conv_norm_out', x));
}
