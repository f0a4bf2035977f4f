// The drawn world: small pictures whose truth is known, for tests, the demo and the recipes of the weights that ship.
export { CELL, COLUMNS, type Concept, openWorld, type World } from './drawings.ts';
export { type Lesson, lesson } from './lessons.ts';
export { ask, compare, KINDS, type Kind, type Question, questioned } from './questions.ts';
export { Random } from './random.ts';
export { render } from './render.ts';
export * from './scene.ts';
export { talk } from './talk.ts';
export { type CaptionOptions, caption, captioned, phraseOf, type Wording } from './words.ts';
