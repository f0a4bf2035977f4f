// The numbers that torch.randn draws on a CPU: MT19937 (Matsumoto & Nishimura 1998) and the transform of Box and Muller, in
// torch's order (ATen/core/MT19937RNGEngine.h, ATen/native/cpu/DistributionTemplates.h). Logarithms and cosines are
// rounded from float64 here, where torch has f32 approximations of its own: a number may differ in its last bits.
const [N, M] = [624, 397];

export class TorchRandom {
  readonly #state = new Uint32Array(N);
  #at = N;
  /** Of a pair of single draws the second. */
  #spare: number | undefined;

  /** `seed`: torch takes the lower 32 bits. */
  constructor(seed: number) {
    const s = this.#state;
    s[0] = seed % 2 ** 32;
    for (let i = 1; i < N; i++) s[i] = Math.imul(1812433253, s[i - 1]! ^ (s[i - 1]! >>> 30)) + i;
  }

  /** 32 random bits. */
  next(): number {
    if (this.#at === N) this.#twist();
    let y = this.#state[this.#at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  #twist(): void {
    const s = this.#state;
    for (let i = 0; i < N; i++) {
      const y = (s[i]! & 0x80000000) | (s[(i + 1) % N]! & 0x7fffffff);
      s[i] = s[(i + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#at = 0;
  }

  /** As torch.randn of float32: 16 and more in blocks of 16, fewer one by one in float64. */
  randn(n: number): Float32Array {
    return n < 16 ? Float32Array.from({ length: n }, () => this.#single()) : this.#blocks(n);
  }

  #single(): number {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare !== undefined) return spare;
    const angle = 2 * Math.PI * this.#double();
    const radius = Math.sqrt(-2 * Math.log1p(-this.#double()));
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** 53 bits, in [0, 1). */
  #double(): number {
    const high = this.next() & 0x1fffff;
    return (high * 2 ** 32 + this.next()) * 2 ** -53;
  }

  #blocks(n: number): Float32Array {
    const out = Float32Array.from({ length: n }, () => this.#uniform());
    for (let i = 0; i + 16 <= n; i += 16) normal(out, i);
    if (n % 16 === 0) return out;
    for (let i = n - 16; i < n; i++) out[i] = this.#uniform(); // the last block lies over the one before
    normal(out, n - 16);
    return out;
  }

  /** 24 bits, in [0, 1). */
  #uniform(): number {
    return (this.next() & 0xffffff) * 2 ** -24;
  }
}

/** 16 uniform numbers become normal: of each pair, eight apart, one is the radius and one the angle, both rounded to f32. */
function normal(x: Float32Array, from: number): void {
  for (let i = from; i < from + 8; i++) {
    const radius = Math.fround(Math.sqrt(-2 * Math.fround(Math.log(1 - x[i]!))));
    const angle = Math.fround(Math.fround(2 * Math.PI) * x[i + 8]!);
    x[i] = radius * Math.cos(angle);
    x[i + 8] = radius * Math.sin(angle);
  }
}
