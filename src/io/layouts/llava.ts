// LLaVA under other names than those that transformers saves: with the parts of its tower as before transformers 5, as its
// model has them in memory (`model.language_model`), and as the original repository saved it (`model.mm_projector`).
import type { Layout, Rule, Shapes } from './layout.ts';

const has = (shapes: Shapes, prefix: string) => [...shapes.keys()].some((name) => name.startsWith(prefix));

/** The tower was one module deeper. */
const tower = (from: string): Rule[] => [
  { from: `${from}.vision_model.**`, to: 'vision_tower.**' },
  { from: `${from}.**`, to: 'vision_tower.**' },
];

export const llavaHub: Layout = {
  name: 'llava-hub',
  detect: (shapes) => has(shapes, 'vision_tower.vision_model.') && has(shapes, 'multi_modal_projector.'),
  rules: tower('vision_tower'),
  rest: 'keep',
};

export const llavaInMemory: Layout = {
  name: 'llava-in-memory',
  detect: (shapes) => has(shapes, 'model.multi_modal_projector.'),
  rules: [
    ...tower('model.vision_tower'),
    { from: 'model.multi_modal_projector.**', to: 'multi_modal_projector.**' },
    { from: 'model.language_model.**', to: 'language_model.model.**' },
    { from: 'lm_head.*', to: 'language_model.lm_head.*' },
  ],
};
