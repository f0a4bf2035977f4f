// CLIP ViT-B/32 with random weights that are the same on every side: names and shapes of transformers' checkpoint.
import type { Folder } from '../src/io/source.ts';
import { uniform } from './data.ts';

export const CLIP = { text: { L: 77, D: 512, heads: 8 }, image: { L: 50, D: 768, heads: 12 }, layers: 12, out: 512 };

type Shapes = [string, number[]][];

const norm = (name: string, D: number): Shapes => [
  [`${name}.weight`, [D]],
  [`${name}.bias`, [D]],
];
const linear = (name: string, from: number, to: number): Shapes => [
  [`${name}.weight`, [to, from]],
  [`${name}.bias`, [to]],
];
const encoder = (prefix: string, D: number, layers: number): Shapes =>
  Array.from({ length: layers }, (_, i) => `${prefix}.encoder.layers.${i}`).flatMap((layer) => [
    ...norm(`${layer}.layer_norm1`, D),
    ...['q_proj', 'k_proj', 'v_proj', 'out_proj'].flatMap((name) => linear(`${layer}.self_attn.${name}`, D, D)),
    ...norm(`${layer}.layer_norm2`, D),
    ...linear(`${layer}.mlp.fc1`, D, 4 * D),
    ...linear(`${layer}.mlp.fc2`, 4 * D, D),
  ]);

/** The tensors of a vision tower of pictures of 224 pixels. */
export const visionShapes = (D: number, layers: number, patch: number): Shapes => [
  ['vision_model.embeddings.class_embedding', [D]],
  ['vision_model.embeddings.patch_embedding.weight', [D, 3, patch, patch]],
  ['vision_model.embeddings.position_embedding.weight', [(224 / patch) ** 2 + 1, D]],
  ...norm('vision_model.pre_layrnorm', D), // sic
  ...encoder('vision_model', D, layers),
  ...norm('vision_model.post_layernorm', D),
];

/** Every tensor of the checkpoint with its shape. */
export const SHAPES = new Map<string, number[]>([
  ['logit_scale', []],
  ['text_model.embeddings.token_embedding.weight', [49408, 512]],
  ['text_model.embeddings.position_embedding.weight', [77, 512]],
  ...encoder('text_model', 512, CLIP.layers),
  ...norm('text_model.final_layer_norm', 512),
  ['text_projection.weight', [512, 512]],
  ...visionShapes(768, CLIP.layers, 32),
  ['visual_projection.weight', [512, 768]],
]);

/** Values of a tensor: norms near 1, matrices so that activations keep their size. */
export function weight(name: string): Float32Array {
  const shape = SHAPES.get(name)!;
  const seed = [...SHAPES.keys()].indexOf(name) + 5000;
  const fanIn = shape.slice(1).reduce((n, d) => n * d, 1);
  const scale = shape.length < 2 ? 0.1 : /embedding\.weight$/.test(name) && fanIn < 1000 ? 0.5 : 1.2 / Math.sqrt(fanIn);
  const x = uniform(
    shape.reduce((n, d) => n * d, 1),
    seed,
    scale,
  );
  if (/norm\w*\.weight$/.test(name)) for (let i = 0; i < x.length; i++) x[i]! += 1;
  return x;
}

/** The tensors of one tower: 'text' or 'image'. */
export const namesOf = (tower: 'text' | 'image'): string[] =>
  [...SHAPES.keys()].filter((name) => name.startsWith(tower === 'text' ? 'text' : 'vis'));

/** The checkpoint as a folder in memory: a tensor is made when it is read. */
export function checkpoint(): Folder {
  const entries = [...SHAPES];
  let end = 0;
  const header = Object.fromEntries(
    entries.map(([name, shape]) => {
      const begin = end;
      end += 4 * shape.reduce((n, d) => n * d, 1);
      return [name, { dtype: 'F32', shape, data_offsets: [begin, end] }];
    }),
  );
  const json = new TextEncoder().encode(JSON.stringify(header));
  const start = 8 + json.length;
  const head = new Uint8Array(start);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  head.set(json, 8);
  let last: { name: string; bytes: Uint8Array } | undefined;
  const bytesOf = (name: string) => {
    if (last?.name !== name) last = { name, bytes: new Uint8Array(weight(name).buffer) };
    return last.bytes;
  };
  const read = async (offset: number, length: number) => {
    if (offset + length <= start) return head.slice(offset, offset + length);
    for (const [name, { data_offsets }] of Object.entries(header)) {
      const at = offset - start - data_offsets[0]!;
      if (at >= 0 && offset - start < data_offsets[1]!) return bytesOf(name).slice(at, at + length);
    }
    throw new Error(`[bench] nothing at ${offset}`);
  };
  const files: Record<string, string> = { 'config.json': JSON.stringify({ model_type: 'clip' }) };
  const name = 'model.safetensors';
  const folder: Folder = {
    name: 'clip-b32-random',
    list: async () => [...Object.keys(files), name],
    open: async (file) => (file === name ? { name, size: start + end, read } : undefined),
    text: async (file) => files[file],
    at: () => folder,
  };
  return folder;
}
