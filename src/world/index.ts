// The drawn world: small pictures whose truth is known, for tests, the demo and the recipes of the weights that ship.
export { CELL, COLUMNS, type Concept, openWorld, type World } from './drawings.ts';
export { Random } from './random.ts';
export { render } from './render.ts';
export * from './scene.ts';
export { caption, phraseOf, type Wording } from './words.ts';
