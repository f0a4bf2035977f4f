// What a model of broken weights gives is refused: it would be taken for a result.
import { run } from '../exec/run.ts';
import type { Tensor } from '../tensor/tensor.ts';

export const BROKEN_WEIGHTS =
  "Do the weights hold NaN or infinity, or numbers too large (if dtype is 'f16', try 'f32')?";

/** Throws an Error for the first of `names` whose row of `data` ([names, ...]) holds NaN or infinity. */
export function checkFiniteRows(where: string, names: readonly string[], data: Float32Array): void {
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const name = names[Math.floor((bad * names.length) / data.length)];
  throw new Error(`[${where}] ${name}: got ${data[bad]} in its features, want numbers. ${BROKEN_WEIGHTS}`);
}

/** The place of the first tensor that holds NaN or infinity, -1 for none. Computes them together. */
export async function firstBroken(tensors: readonly Tensor[]): Promise<number> {
  const checks = tensors.map((t) => t.mul(0).sum()); // 0, or NaN
  await run(checks);
  const sums = await Promise.all(checks.map((check) => check.item()));
  for (const check of checks) check.dispose();
  return sums.findIndex(Number.isNaN);
}
