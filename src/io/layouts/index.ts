// The layouts, in the order in which they are tried. A checkpoint that none knows has today's names.
import { UserError } from '../error.ts';
import { diffusersAttention } from './diffusers-attention.ts';
import { applyLayout, type Layout, type LayoutView, type Shapes } from './layout.ts';
import { ldm, ldmAutoencoder } from './ldm.ts';
import { llavaHub, llavaInMemory, llavaOriginal } from './llava.ts';
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
  llavaOriginal,
  ldm,
  ldmAutoencoder,
];

/** The layout of a checkpoint, found from its tensors. */
export function findLayout(shapes: Shapes, own?: Config): Layout {
  return LAYOUTS.find((layout) => layout.detect(shapes, own)) ?? current;
}

type Stored = { info: { shape: readonly number[] } };
type Config = Record<string, unknown>;
type Source<T extends Stored> = {
  name: string;
  tensors: Map<string, T>;
  config: Config | undefined;
  json(file: string): Promise<Config | undefined>;
  /** A checkpoint that belongs to this one, or its config alone. Its tensors are among those of this one from then on. */
  beside?(
    name: string,
    isConfigOnly: boolean,
  ): Promise<{ tensors: Map<string, T>; config: Config | undefined } | undefined>;
};

/**
 * A checkpoint's tensors and config as transformers names them today. `json` reads a file beside the weights. `part`: what a
 * file for a whole pipeline holds of this part.
 */
export async function viewCheckpoint<T extends Stored>(
  checkpoint: Source<T>,
  part?: string,
): Promise<LayoutView & { layout: Layout; config: Config | undefined }> {
  const { tensors } = checkpoint;
  const shapesOf = () => new Map([...tensors].map(([name, { info }]) => [name, info.shape]));
  const layout = findLayout(shapesOf(), checkpoint.config);
  let file = layout.config_file === undefined ? undefined : await checkpoint.json(layout.config_file);
  if (layout.beside) {
    const { folder, own } = layout.beside;
    const isHere = [...tensors.keys()].some((name) => name.startsWith(own));
    const found = await checkpoint.beside?.(folder, isHere);
    for (const [name, stored] of found?.tensors ?? []) tensors.set(`${folder}.${name}`, stored);
    file = found?.config;
  }
  const shapes = shapesOf();
  const view = applyLayout(layout, shapes);
  const config = layout.config?.(shapes, file, checkpoint.config) ?? checkpoint.config;
  if (part === undefined) return { layout, ...view, config };
  const own = [...view.views].filter(([path]) => path.startsWith(`${part}.`));
  if (own.length === 0) {
    const few = [...shapes.keys()].slice(0, 2).join(', ');
    throw new UserError(`[${checkpoint.name}] no ${part} in it: got ${few}, want a Stable Diffusion in one file`);
  }
  const views = new Map(own.map(([path, found]) => [path.slice(part.length + 1), found]));
  return { layout, ...view, unexpected: [], views, config };
}
