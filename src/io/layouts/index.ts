// The layouts, in the order in which they are tried. A checkpoint that none knows has today's names.
import { UserError } from '../error.ts';
import { diffusersAttention } from './diffusers-attention.ts';
import { applyLayout, type Layout, type LayoutView, type Shapes } from './layout.ts';
import { ldm, ldmAutoencoder } from './ldm.ts';
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
  ldm,
  ldmAutoencoder,
];

/** The layout of a checkpoint, found from its tensors. */
export function findLayout(shapes: Shapes): Layout {
  return LAYOUTS.find((layout) => layout.detect(shapes)) ?? current;
}

/**
 * A checkpoint's tensors and config as transformers names them today. `json` reads a file beside the weights. `part`: what a
 * file for a whole pipeline holds of this part.
 */
export async function viewCheckpoint(
  checkpoint: {
    name: string;
    tensors: ReadonlyMap<string, { info: { shape: readonly number[] } }>;
    config: Record<string, unknown> | undefined;
    json(file: string): Promise<Record<string, unknown> | undefined>;
  },
  part?: string,
): Promise<LayoutView & { layout: Layout; config: Record<string, unknown> | undefined }> {
  const shapes = new Map([...checkpoint.tensors].map(([name, { info }]) => [name, info.shape]));
  const layout = findLayout(shapes);
  const file = layout.config_file === undefined ? undefined : await checkpoint.json(layout.config_file);
  const view = applyLayout(layout, shapes);
  const config = layout.config?.(shapes, file) ?? checkpoint.config;
  if (part === undefined) return { layout, ...view, config };
  const own = [...view.views].filter(([path]) => path.startsWith(`${part}.`));
  if (own.length === 0) {
    const few = [...shapes.keys()].slice(0, 2).join(', ');
    throw new UserError(`[${checkpoint.name}] no ${part} in it: got ${few}, want a Stable Diffusion in one file`);
  }
  const views = new Map(own.map(([path, found]) => [path.slice(part.length + 1), found]));
  return { layout, ...view, unexpected: [], views, config };
}
