// Random numbers of the drawn world: integers of 32 bits only, so that a seed means the same in every runtime.

/** A number whose bits all depend on all bits of `x` (the finaliser of MurmurHash3). */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** One number of 32 bits for these parts, in this order. */
export function hash(...parts: readonly (number | string)[]): number {
  let h = 0;
  for (const part of parts) {
    const codes = typeof part === 'number' ? [part] : Array.from(part, (letter) => letter.codePointAt(0)!);
    for (const code of [...codes, 0x10ffff]) h = mix(h ^ Math.imul(code + 1, 0x9e3779b9)) + 1;
  }
  return mix(h);
}

/** A stream of random choices: SplitMix32, a counter that is mixed. */
export class Random {
  #state: number;

  constructor(...seed: readonly (number | string)[]) {
    this.#state = hash(...seed);
  }

  /** An integer from 0 up to, not including, `end` (at most 2^21, so that the product is exact). */
  below(end: number): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    return Math.floor((mix(this.#state) * end) / 2 ** 32);
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True in `percent` of 100 cases. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** A copy in random order. */
  shuffle<T>(list: readonly T[]): T[] {
    const out = [...list];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j]!, out[i]!];
    }
    return out;
  }
}
