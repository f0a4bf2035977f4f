import { describe, expect, it } from 'vitest';
import { tensor } from '../../src/index.ts';
import { from_bits } from '../../src/ops/bits.ts';

/** A float of the given bits: `exponent` and `fraction` bits wide, no infinities with `finite` (its NaN has all bits set). */
function value(bits: number, exponent: number, fraction: number, finite = false): number {
  const sign = (bits >> (exponent + fraction)) & 1 ? -1 : 1;
  const e = (bits >> fraction) & (2 ** exponent - 1);
  const f = bits & (2 ** fraction - 1);
  const bias = 2 ** (exponent - 1) - 1;
  if (finite ? (bits & (2 ** (exponent + fraction) - 1)) === 2 ** (exponent + fraction) - 1 : e === 2 ** exponent - 1) {
    return f === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  }
  return sign * (e === 0 ? f * 2 ** (1 - bias - fraction) : (1 + f * 2 ** -fraction) * 2 ** (e - bias));
}
const words = (bytes: ArrayBufferView) => tensor(new Uint32Array(bytes.buffer));
const all16 = Uint16Array.from({ length: 65536 }, (_, i) => i);
const all8 = Uint8Array.from({ length: 256 }, (_, i) => i);
const isNormal = (v: number) => v === 0 || Number.isNaN(v) || Math.abs(v) >= 2 ** -126; // adapters may flush the others

describe('from_bits', () => {
  it('reads every half', async () => {
    const got = await from_bits(words(all16), [256, 256], 'F16').data();
    expect(got).toEqual(Float32Array.from(all16, (h) => value(h, 5, 10)));
  });
  it('reads every bfloat16', async () => {
    const got = await from_bits(words(all16), [65536], 'BF16').data();
    const want = Array.from(all16, (h) => value(h, 8, 7));
    expect(want.findIndex((w, i) => isNormal(w) && !Object.is(got[i], w))).toBe(-1);
  });
  it('reads every float of eight bits', async () => {
    expect(await from_bits(words(all8), [256], 'F8_E4M3').data()).toEqual(
      Float32Array.from(all8, (b) => value(b, 4, 3, true)),
    );
    expect(await from_bits(words(all8), [256], 'F8_E5M2').data()).toEqual(
      Float32Array.from(all8, (b) => value(b, 5, 2)),
    );
  });
  it('reads floats, as f16 too, and sizes that end within a word', async () => {
    const floats = Float32Array.of(1, -2.5, 3e-5, 65504, 7);
    expect(await from_bits(words(floats), [5], 'F32').data()).toEqual(floats);
    expect(await from_bits(words(floats), [2, 2], 'F32', 'f16').data()).toEqual(
      Float32Array.of(1, -2.5, value(0x01f7, 5, 10), 65504),
    );
    expect(await from_bits(words(Uint16Array.of(0x3c00, 0x4000, 0x4200, 0)), [3], 'F16').data()).toEqual(
      Float32Array.of(1, 2, 3),
    );
  });
});
