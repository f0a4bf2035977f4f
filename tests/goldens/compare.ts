// One output against what the reference gave.
import { sha256 } from '../sha256.ts';
import type { Value, Values, Wanted } from './golden.ts';

/** `max_abs` is null where the outputs can not be subtracted, and then `why` says so. */
export type Row = {
  call: string;
  output: string;
  ok: boolean;
  max_abs: number | null;
  scale: number;
  f32_error: number;
  sha256: string;
  why?: string;
};

/** The largest difference allowed between floats. */
export const tolerance = ({ f32_error, scale }: Pick<Wanted, 'f32_error' | 'scale'>): number =>
  16 * f32_error + 2e-6 * scale;

export async function compare(got: Value, want: Value, wanted: Wanted): Promise<Omit<Row, 'call' | 'output'>> {
  const { f32_error, scale } = wanted;
  const shared = { scale, f32_error, sha256: await hash(got) };
  const off = (why: string, max_abs: number | null = null) => ({ ok: false, max_abs, ...shared, why });
  if (!isValues(got) || !isValues(want)) {
    const [a, b] = [shown(got), shown(want)];
    return a === b ? { ok: true, max_abs: 0, ...shared } : off(`got ${a}, want ${b}`);
  }
  if (got.shape.join() !== want.shape.join()) return off(`got shape [${got.shape}], want [${want.shape}]`);
  const max_abs = maxDifference(got.data, want.data);
  const limit = want.data instanceof Float32Array ? tolerance(wanted) : 0;
  if (max_abs <= limit) return { ok: true, max_abs, ...shared };
  return Number.isFinite(max_abs)
    ? off(`more than ${limit.toPrecision(3)}`, max_abs)
    : off('values that are not finite');
}

/** NaN where one side is no number and the other is. */
function maxDifference(a: Values['data'], b: Values['data']): number {
  let most = 0;
  for (let i = 0; i < b.length; i++) {
    const d = Object.is(a[i], b[i]) ? 0 : Math.abs(a[i]! - b[i]!);
    if (!(d <= most)) most = d;
    if (Number.isNaN(most)) break;
  }
  return most;
}

const isValues = (value: Value): value is Values => typeof value === 'object' && 'data' in value;
const shown = (value: Value): string => (isValues(value) ? `[${value.data}]` : JSON.stringify(value));

/** Of an array's bytes; of a text as UTF-8, of a list of texts as its JSON. */
function hash(value: Value): Promise<string> {
  if (isValues(value)) return sha256(value.data);
  return sha256(new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value)));
}
