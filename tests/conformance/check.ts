// One output against its oracle, and its hash.
import type { DType, TypedArray } from '../../src/tensor/dtype.ts';
import type { Nd } from '../reference.ts';
import type { Output } from './case.ts';

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

const F16_ULP = 2 ** -10; // WGSL, conversion to f16: one of the two neighbours
const F16_TINY = 2 ** -24; // the smallest subnormal

/** Why values are not what is wanted; `max_abs` of them. */
export function check(
  data: TypedArray,
  dtype: DType,
  want: Nd,
  { each = 0, all = 0, abs = 0, halves = 0, from }: Output['tolerance'],
) {
  const isHalf = dtype === 'f16';
  const scale = want.data.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const floor = all * scale + abs + (isHalf ? F16_TINY + halves * F16_ULP * scale : 0);
  const wrong = { max_abs: null, why: '' };
  if (data.length !== want.data.length) return { ...wrong, why: `got ${data.length} values, want ${want.data.length}` };
  if (scale === 0) return { ...wrong, why: 'the oracle is all zero and would hide what is multiplied by it' };
  let max_abs = 0;
  let why = '';
  for (const [i, w] of want.data.entries()) {
    const error = Math.abs(data[i]! - w);
    const bound = (each + (isHalf ? F16_ULP : 0)) * Math.abs(w) + floor;
    if (!(error <= bound)) why ||= `element ${i}: got ${data[i]}, want ${w} within ${bound} (${from})`;
    if (!(error <= max_abs)) max_abs = error;
  }
  return Number.isFinite(max_abs) ? { max_abs, why } : { ...wrong, why };
}

export async function sha256(data: TypedArray): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data as TypedArray & { buffer: ArrayBuffer }));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
