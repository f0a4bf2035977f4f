// Sequences of random numbers: torch's (fixtures made with torch.randn on a CPU), and those of a seed everywhere.
import { expect, test } from 'vitest';
import { Generator } from '../../src/index.ts';
import fixture from './fixtures/torch-randn.json' with { type: 'json' };

const ULP = 2 ** -21; // torch has f32 approximations of log, sin and cos
type Draws = { seed: number; draws: number[][] };

test.each(fixture.filter((f) => 'draws' in f) as Draws[])('torch.randn, seed $seed', async ({ seed, draws }) => {
  const generator = new Generator(seed, { algorithm: 'torch' });
  for (const want of draws) {
    const got = [...(await generator.randn([want.length]).data())];
    const off = want.flatMap((w, i) => (Math.abs(got[i]! - w) <= ULP ? [] : [`${i}: got ${got[i]}, want ${w}`]));
    expect(off).toEqual([]);
  }
});

test('torch.randn of a latent', async () => {
  const want = fixture.at(-1) as { seed: number; count: number; sum: number; squares: number; last: number[] };
  const x = [...(await new Generator(want.seed, { algorithm: 'torch' }).randn([1, 4, 64, 64]).data())];
  const total = (values: number[]) => values.reduce((a, b) => a + b, 0);
  expect(x.length).toBe(want.count);
  expect(total(x)).toBeCloseTo(want.sum, 3);
  expect(total(x.map((v) => v * v)) / want.squares).toBeCloseTo(1, 6);
  x.slice(-4).forEach((v, i) => {
    expect(Math.abs(v - want.last[i]!)).toBeLessThan(ULP);
  });
});

test.each(['philox', 'torch'] as const)('%s: a seed is a sequence', async (algorithm) => {
  const draw = async (g: Generator) => [...(await g.randn([2, 9]).data())];
  const one = new Generator(7, { algorithm });
  const [first, second] = [await draw(one), await draw(one)];
  expect(first).not.toEqual(second);
  expect(await draw(one.manual_seed(7))).toEqual(first);
  expect(await draw(one)).toEqual(second);
  expect(await draw(new Generator(8, { algorithm }))).not.toEqual(first);
  expect(one.seed).toBe(7);
});

test('without a seed there is a random one', () => {
  expect(new Generator().seed).not.toBe(new Generator().seed);
});

test.each<[() => unknown, string]>([
  [() => new Generator(-1), '[generator] seed: got -1, want a whole number from 0'],
  [() => new Generator('7' as never), "[generator] seed: got '7', want a whole number from 0"],
  [() => new Generator(7, { algorithm: 'xorwow' as never }), "algorithm: got 'xorwow', want 'philox' or 'torch'"],
  [() => new Generator(7, 'torch' as never), "[generator] options: got 'torch', want an object"],
])('%s', (act, message) => {
  expect(act).toThrow(message);
});
