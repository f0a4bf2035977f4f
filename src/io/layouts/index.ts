// The layouts, in the order in which they are tried. A checkpoint that none knows has today's names.
import { diffusersAttention } from './diffusers-attention.ts';
import { applyLayout, type Layout, type LayoutView, type Shapes } from './layout.ts';
import { llavaHub, llavaInMemory } from './llava.ts';
import { openClip } from './open-clip.ts';
import { openaiClip } from './openai-clip.ts';
import { transformersV4Towers } from './transformers-v4-towers.ts';

export type { Layout, LayoutView, Rule, Shapes, TensorView } from './layout.ts';
export { applyLayout } from './layout.ts';

/** Today's transformers and diffusers names: every path is the tensor's name. */
export const current: Layout = { name: 'transformers', detect: () => true, rules: [], rest: 'keep' };

export const LAYOUTS: readonly Layout[] = [
  openaiClip,
  openClip,
  transformersV4Towers,
  diffusersAttention,
  llavaHub,
  llavaInMemory,
];

/** The layout of a checkpoint, found from its tensors. */
export function findLayout(shapes: Shapes): Layout {
  return LAYOUTS.find((layout) => layout.detect(shapes)) ?? current;
}

/** A checkpoint's tensors and config as transformers names them today. `json` reads a file beside the weights. */
export async function viewCheckpoint(checkpoint: {
  tensors: ReadonlyMap<string, { info: { shape: readonly number[] } }>;
  config: Record<string, unknown> | undefined;
  json(file: string): Promise<Record<string, unknown> | undefined>;
}): Promise<LayoutView & { layout: Layout; config: Record<string, unknown> | undefined }> {
  const shapes = new Map([...checkpoint.tensors].map(([name, { info }]) => [name, info.shape]));
  const layout = findLayout(shapes);
  const file = layout.config_file === undefined ? undefined : await checkpoint.json(layout.config_file);
  return { layout, ...applyLayout(layout, shapes), config: layout.config?.(shapes, file) ?? checkpoint.config };
}
