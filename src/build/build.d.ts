export type Sizes = { engine: number; browser: number; worker: number; index: number; cli: number };
export function isNewer(folder: string, sources: string[]): Promise<boolean>;
export function buildAll(options?: { types?: boolean; folder?: string }): Promise<Sizes>;
