// One result everywhere: the suite in every runtime, on the software adapter from npm. `npm run test:full` takes the whole table.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closeBrowsers, RUNTIMES } from '../runtimes/launch.ts';
import { type Comparison, compare, largestDifferences, type Run, tableText } from './compare.ts';
import { runAll } from './runs.ts';
import type { Options, Result } from './suite.ts';

const full = process.env.MODE === 'full';
const HOUR = 3_600_000;

afterAll(closeBrowsers);

describe('the suite', () => {
  let runs: Run[];
  let comparison: Comparison;
  beforeAll(async () => {
    runs = await runAll(RUNTIMES.map((runtime) => ({ label: runtime, runtime, options: { full } })));
    comparison = compare(runs);
    console.log(tableText(runs, comparison));
  }, HOUR);

  test.each(RUNTIMES.map((runtime, i) => [runtime, i] as const))('runs on SwiftShader in %s', (_, i) => {
    expect(runs[i]!.error).toBeUndefined();
    expect(runs[i]!.report!.adapter).toBe('swiftshader');
    expect(runs[i]!.report!.results.length).toBeGreaterThan(300);
  });
  test('is right everywhere', () => expect(comparison.wrong).toEqual([]));
  test('has the same bits everywhere', () => expect(comparison.unequal).toEqual([]));
});

describe('an altered kernel', () => {
  const compared = async (options: Options) => {
    const altered = { label: 'altered', runtime: 'node', options } as const;
    const { alter: _, ...same } = options;
    return compare(await runAll([{ label: 'node', runtime: 'node', options: same }, altered]));
  };

  test('is unequal when only its order of summation is another', async () => {
    const join = 'fn join(v:V)->f32{return meet(meet(V(v.x),V(v.y)),meet(V(v.z),V(v.w))).x;}';
    const { failed, wrong, unequal } = await compared({ groups: ['reduction'], alter: { reduce: { join } } });
    expect([failed, wrong]).toEqual([[], []]);
    expect(unequal.join('\n')).toMatch(/reduction: sum f32 \[37,67\]: \w{8} node, \w{8} altered/);
    expect(unequal.join('\n')).not.toContain('max');
  });

  test('is wrong and unequal when its result is another', async () => {
    const probability = 'fn probability(d:V,sum:f32)->V{return exp_(d)/(sum+0.001);}';
    const { failed, wrong, unequal } = await compared({
      groups: ['softmax, norm'],
      alter: { softmax: { probability } },
    });
    expect(failed).toEqual([]);
    expect(wrong.join('\n')).toMatch(/softmax f32 \[37,67\] \[altered\]: element \d+: got .*, want .* within /);
    expect(unequal.join('\n')).toContain('softmax f32 [37,67]: ');
    expect([...wrong, ...unequal].join('\n')).not.toContain('layer_norm');
  });
});

describe('the comparison', () => {
  const result = { group: 'g', name: 'n', ok: true, max_abs: 0, sha256: 'aaaaaaaaa' };
  const run = (label: string, ...results: Result[]): Run => {
    return { label, report: { adapter: 'a', runtime: label, ms: 1, pipelines: 1, results } };
  };

  test('notices a result that one run lacks', () => {
    const { unequal } = compare([run('a', result), run('b', result), run('c')]);
    expect(unequal).toEqual(['g: n: aaaaaaaa a b, none c']);
  });
  test('names a run that failed, and takes nothing from the others', () => {
    const runs = [run('a', result), { label: 'b', error: 'no adapter' }, run('c', { ...result, sha256: 'bbbbbbbbb' })];
    const comparison = compare(runs);
    expect(comparison).toMatchObject({
      failed: ['b: no adapter'],
      wrong: [],
      unequal: ['g: n: aaaaaaaa a, bbbbbbbb c'],
    });
    expect(tableText(runs, comparison)).toMatch(/^g +1 +1 +0 +0$/m);
  });
  test('measures how far adapters are apart', () => {
    const near = { ...result, name: 'near', sha256: 'b', values: [4, -2.0000001] };
    const far = { ...result, name: 'far', sha256: 'b', values: [0.5, 0.25] };
    const [a, b] = [run('a', near, far, result), run('b', near, { ...far, sha256: 'c', values: [0.5, 0.3] }, result)];
    const text = largestDifferences(a.report!, b.report!);
    expect(text).toMatch(/^ {2}g +2 of 3 equal {2}at most 1\.0e-1 of the largest value: far$/m);
  });
});
