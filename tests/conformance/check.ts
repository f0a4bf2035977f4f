// One output against its oracle.
import type { Plain, TypedArray } from '../../src/tensor/dtype.ts';
import type { Nd } from '../reference.ts';
import { boundOf, largest, type Tolerance } from '../samples.ts';

/** `max_abs`: the largest difference from the oracle, null where there is none. */
export type Result = {
  group: string;
  name: string;
  ok: boolean;
  max_abs: number | null;
  sha256: string;
  why?: string;
  /** Where they were to be kept. */
  values?: number[];
};

/** Why values are not what is wanted; `max_abs` of them. */
export function check(data: TypedArray, dtype: Plain, want: Nd, tolerance: Tolerance) {
  const wrong = { max_abs: null, why: '' };
  if (data.length !== want.data.length) return { ...wrong, why: `got ${data.length} values, want ${want.data.length}` };
  if (largest(want) === 0) {
    return { ...wrong, why: 'the oracle is all zero and would hide what is multiplied by it' };
  }
  const boundFor = boundOf(want, dtype, tolerance);
  let max_abs = 0;
  let why = '';
  for (const [i, w] of want.data.entries()) {
    const error = Math.abs(data[i]! - w);
    const bound = boundFor(w);
    if (!(error <= bound)) why ||= `element ${i}: got ${data[i]}, want ${w} within ${bound} (${tolerance.from})`;
    if (!(error <= max_abs)) max_abs = error;
  }
  return Number.isFinite(max_abs) ? { max_abs, why } : { ...wrong, why };
}
