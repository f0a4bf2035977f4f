// What a model of broken weights gives is refused: it would be taken for a result.

export const BROKEN_WEIGHTS =
  "Do the weights hold NaN or infinity, or numbers too large (if dtype is 'f16', try 'f32')?";

/** Throws an Error for the first of `names` whose row of `data` ([names, ...]) holds NaN or infinity. */
export function checkRows(where: string, names: readonly string[], data: Float32Array): void {
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const name = names[Math.floor((bad * names.length) / data.length)];
  throw new Error(`[${where}] ${name}: got ${data[bad]} in its features, want numbers. ${BROKEN_WEIGHTS}`);
}
