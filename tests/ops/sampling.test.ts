// The choice of tokens against plain definitions of it.
import { describe, expect, it } from 'vitest';
import {
  draw_token,
  likeliest_token,
  min_p,
  repetition_penalty,
  scalar,
  type Tensor,
  tensor,
  top_k,
  top_p,
} from '../../src/index.ts';
import { philox } from '../reference.ts';
import { random } from './harness.ts';

/** Rows of logits, with some that are equal. */
function logits(rows: number, cols: number, seed: number): number[][] {
  const next = random(seed);
  const some = () => Math.fround(8 * next() - 4);
  return Array.from({ length: rows }, () => {
    const row = Array.from({ length: cols }, some);
    for (let i = 0; i < cols; i += 7) row[i] = Math.fround(Math.round(row[i]!));
    return row;
  });
}
const probabilities = (row: readonly number[]) => {
  const top = Math.max(...row);
  const all = row.map((v) => Math.exp(v - top));
  const total = all.reduce((a, b) => a + b, 0);
  return all.map((v) => v / total);
};
const kept = async (scores: Tensor) =>
  ((await scores.tolist()) as number[][]).map((row) => row.flatMap((v, i) => (v > -3e38 ? [i] : [])));
const places = (row: readonly number[], stays: (v: number, i: number) => boolean) =>
  row.flatMap((v, i) => (stays(v, i) ? [i] : []));

describe.each([
  [3, 61],
  [2, 256],
  [1, 257],
  [2, 5000],
])('%i rows of %i', (rows, cols) => {
  const x = logits(rows, cols, cols);

  it.each([1, 2, 10, 50])('top_k %i keeps the largest, and what equals the last', async (k) => {
    const want = x.map((row) => {
      const least = [...row].sort((a, b) => b - a)[k - 1]!;
      return places(row, (v) => v >= least);
    });
    expect(await kept(top_k(tensor(x), k))).toEqual(want);
    expect(await kept(top_k(tensor(x), scalar(k)))).toEqual(want);
  });

  it.each([0.01, 0.3, 0.9, 0.999])('top_p %f keeps the fewest that have so much', async (p) => {
    const want = x.map((row) => {
      const likely = probabilities(row);
      const order = row.map((_, i) => i).sort((a, b) => row[b]! - row[a]! || a - b);
      let before = 0;
      const stays = new Set(order.filter((i) => (before += likely[i]!) - likely[i]! < p));
      return places(row, (_, i) => stays.has(i));
    });
    expect(await kept(top_p(tensor(x), p))).toEqual(want);
  });

  it('min_p keeps what is likely beside the likeliest', async () => {
    const want = x.map((row) => places(row, (v) => Math.exp(v - Math.max(...row)) >= 0.1));
    expect(await kept(min_p(tensor(x), 0.1))).toEqual(want);
  });

  it('what was removed stays so, and what stays keeps its bits', async () => {
    const scores = (await top_p(top_k(tensor(x), 9), 0.8).tolist()) as number[][];
    const once = await kept(top_k(tensor(x), 9));
    scores.forEach((row, r) => {
      const some = places(row, (v) => v > -3e38);
      expect(some.every((i) => once[r]!.includes(i))).toBe(true);
      expect(some.map((i) => row[i])).toEqual(some.map((i) => x[r]![i]));
      expect(row.filter((v) => v <= -3e38).every((v) => v === -3.4028234663852886e38)).toBe(true);
    });
  });

  it('the likeliest is the first of equals', async () => {
    expect(await likeliest_token(tensor(x)).tolist()).toEqual(x.map((row) => row.indexOf(Math.max(...row))));
  });

  it('a row of nothing but -inf gives its first', async () => {
    const none = tensor([[Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]]);
    expect(await likeliest_token(none).tolist()).toEqual([0]);
  });

  it('a NaN is found wherever it is', async () => {
    for (const at of [0, cols >> 1, cols - 1]) {
      const bad = x.map((row, r) => row.map((v, i) => (r === rows - 1 && i === at ? Number.NaN : v)));
      const random = { seed_low: 1, seed_high: 0, position: 0 };
      const scores = top_p(top_k(tensor(bad), 5), 0.9);
      for (const token of [
        likeliest_token(tensor(bad)),
        draw_token(scores, random),
        draw_token(min_p(tensor(bad), 0.1), random),
      ]) {
        expect(((await token.tolist()) as number[]).map((v) => v < 0)).toEqual(x.map((_, r) => r === rows - 1));
      }
    }
  });
});

describe('draw_token', () => {
  it('draws by the published random numbers', async () => {
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]); // Random123's own test
    const cols = 3000;
    const rows = 4;
    const x = logits(rows, cols, 5);
    for (const [seed_low, seed_high, position] of [
      [0, 0, 0],
      [4294967295, 7, 3],
      [123456789, 0, 1000],
    ] as const) {
      const got = (await draw_token(tensor(x), { seed_low, seed_high, position }).tolist()) as number[];
      x.forEach((row, r) => {
        const u = (philox([position, r, 0, 0], [seed_low, seed_high])[0]! >>> 8) / 2 ** 24;
        const likely = probabilities(row);
        const before = likely.slice(0, got[r]).reduce((a, b) => a + b, 0);
        expect(u).toBeGreaterThan(before - 1e-5);
        expect(u).toBeLessThan(before + likely[got[r]!]! + 1e-5);
      });
    }
  });

  it('never draws what was removed', async () => {
    const x = top_k(tensor(logits(1, 61, 3)), 2);
    const [both] = await kept(x);
    const drawn = new Set<number>();
    for (let position = 0; position < 40; position++) {
      drawn.add(((await draw_token(x, { seed_low: 1, seed_high: 0, position }).tolist()) as number[])[0]!);
    }
    expect([...drawn].sort((a, b) => a - b)).toEqual(both);
  });
});

describe('repetition_penalty', () => {
  it('divides what is positive and multiplies what is not, once, of the first tokens alone', async () => {
    const x = tensor([
      [1, -1, 2, -2],
      [3, -3, 0, 4],
    ]);
    const ids = tensor(
      [
        [0, 1, 0, 3],
        [0, 0, 0, 1],
      ],
      { dtype: 'i32' },
    );
    expect(await repetition_penalty(x, ids, 2).tolist()).toEqual([
      [0.5, -2, 2, -4],
      [1.5, -6, 0, 4],
    ]);
    expect(await repetition_penalty(x, ids, 2, scalar(2)).tolist()).toEqual([
      [0.5, -2, 2, -2],
      [1.5, -3, 0, 4],
    ]);
  });
});
