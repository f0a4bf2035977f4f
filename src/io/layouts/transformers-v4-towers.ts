// CLIPTextModel, CLIPVisionModel, SiglipTextModel and SiglipVisionModel saved before transformers 5: every name begins with
// text_model. or vision_model., which today's names do not have.
import type { Layout, Shapes } from './layout.ts';

const PREFIXES = ['text_model.', 'vision_model.'];

export const transformersV4Towers: Layout = {
  name: 'transformers-v4-towers',
  // A model with both towers, or with a projection beside its tower, keeps the prefixes.
  detect: (shapes: Shapes) =>
    shapes.size > 0 && PREFIXES.some((prefix) => [...shapes.keys()].every((name) => name.startsWith(prefix))),
  rules: PREFIXES.map((prefix) => ({ from: `${prefix}**`, to: '**' })),
};
