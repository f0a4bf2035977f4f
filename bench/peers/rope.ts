// Angles of rotary positions, which the peers are given as tables.

/** Cosines and sines [to - from, half] of the positions from..to, to a base of 10000. */
export function turns(from: number, to: number, half: number): { cos: Float32Array; sin: Float32Array } {
  const angle = (i: number) => (from + Math.floor(i / half)) / 10_000 ** ((i % half) / half);
  const of = (f: (x: number) => number) => Float32Array.from({ length: (to - from) * half }, (_, i) => f(angle(i)));
  return { cos: of(Math.cos), sin: of(Math.sin) };
}
