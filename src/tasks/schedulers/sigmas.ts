// Noise levels sigma = sqrt((1 - a) / a), as the schedulers have them that work where x = x0 + sigma noise.
import { linspace } from './alphas.ts';

/** sigma of each trained timestep. Where no picture is left at all, the largest is 4096, as in diffusers. */
export const sigmasOf = (alphas: Float64Array): Float64Array =>
  alphas.map((a) => (a === 0 ? Math.sqrt((1 - 2 ** -24) / 2 ** -24) : Math.sqrt((1 - a) / a)));

/** The table at a place that may be between two entries. */
export function interpolate(table: ArrayLike<number>, at: number): number {
  const low = Math.min(Math.max(Math.floor(at), 0), table.length - 1);
  const high = Math.min(low + 1, table.length - 1);
  return table[low]! + (table[high]! - table[low]!) * Math.min(Math.max(at - low, 0), 1);
}

/** The timestep of a noise level, between those of the table; `logs` ascend. */
export function timestepOf(sigma: number, logs: ArrayLike<number>): number {
  const log = Math.log(Math.max(sigma, 1e-10));
  let low = 0;
  while (low < logs.length - 2 && logs[low + 1]! <= log) low++;
  const share = (log - logs[low]!) / (logs[low + 1]! - logs[low]!);
  return low + Math.min(Math.max(share, 0), 1);
}

/** Karras et al. 2022, arXiv:2206.00364, equation 5 with rho 7. */
export function karras(most: number, least: number, n: number): number[] {
  const rho = 7;
  return linspace(most ** (1 / rho), least ** (1 / rho), n).map((v) => v ** rho);
}

/** Equal steps of log sigma: of the half log signal-to-noise ratio, as Lu et al. 2022 have them (arXiv:2206.00927). */
export const exponential = (most: number, least: number, n: number): number[] =>
  linspace(Math.log(most), Math.log(least), n).map(Math.exp);
