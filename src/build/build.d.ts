export type Sizes = { engine: number; browser: number; index: number; cli: number };
export function buildAll(options?: { types?: boolean; folder?: string }): Promise<Sizes>;
