// The world as the tests open it, from the files in weights/world.
import { readFile } from 'node:fs/promises';
import { openWorld, type World } from '../../src/world/index.ts';

export const readFrom = (file: string) => readFile(new URL(`../../weights/world/${file}`, import.meta.url));

let world: Promise<World> | undefined;
export const theWorld = (): Promise<World> => (world ??= openWorld(readFrom));

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
