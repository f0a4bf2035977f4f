// The bench itself: its references agree with the engine, wrong results are found, its JSON is what scripts read.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { caseOf, cases } from '../../bench/cases.ts';
import { weight } from '../../bench/checkpoint.ts';
import { peersInstalled } from '../../bench/compare.ts';
import { permute, setsOf, values } from '../../bench/data.ts';
import type { Engine } from '../../bench/engine.ts';
import { generating, idleDevice } from '../../bench/generating.ts';
import { deviation, difference, median, spread } from '../../bench/harness.ts';
import { KERNELS } from '../../bench/kernels.ts';
import { open } from '../../bench/ours.ts';
import { Device } from '../../src/index.ts';

const SMALL: Record<string, number[]> = {
  gemm: [5, 7, 6],
  gemv: [1, 9, 6],
  linear: [3, 7, 5],
  conv3x3: [2, 3, 5, 4, 6],
  conv1x1: [2, 3, 5, 4, 6],
  attention: [3, 7, 8],
  softmax: [6, 9],
  layer_norm: [5, 12],
  group_norm_silu: [2, 32, 3, 4],
  rms_norm: [5, 12],
  chain: [5, 12],
  sum_last: [5, 12],
  sum_all: [9, 8],
  transpose: [5, 6],
  heads: [5, 3, 4],
  embedding: [40, 8, 6],
};

describe('kernels of the bench', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await open(process.env.TESSERA_ADAPTER ?? 'software');
  });

  it.each(Object.entries(SMALL))(
    '%s is what its reference says, and not when one element is off',
    async (name, dims) => {
      const c = caseOf(name, dims);
      const work = await engine.prepare(c, 2);
      await work.call(1);
      const y = await work.result();
      work.dispose();
      expect(y.length).toBe(c.output.reduce((n, d) => n * d, 1));
      expect(deviation(c, y)).toBeLessThan(1e-5);
      y[y.length - 1]! += 0.5;
      expect(deviation(c, y)).toBeGreaterThan(1e-2);
      y[0] = Number.NaN;
      expect(deviation(c, y)).toBeNaN();
    },
  );
  it('are all tried above', () => expect(Object.keys(KERNELS)).toEqual(Object.keys(SMALL)));
});

describe('models of the bench', () => {
  it.each([
    ['llama_block', [3, 3, 32, 48, 4, 2]],
    ['llama_block', [1, 7, 32, 48, 4, 2]],
    ['unet_level', [32, 3, 5]],
  ])('%s %j gives the same after a call with other inputs', async (name, dims) => {
    const engine = await open(process.env.TESSERA_ADAPTER ?? 'software');
    const c = caseOf(name, dims);
    const work = await engine.prepare(c, 2);
    const first = await work.result();
    await work.call(1);
    const again = await work.result();
    expect(first).toHaveLength(c.output.reduce((n, d) => n * d, 1));
    expect(first.every(Number.isFinite)).toBe(true);
    expect(again).toEqual(first);
    expect(c.flops).toBeGreaterThan(0);
    work.dispose();
  });
  it('have weights that a name decides, and norms near 1', () => {
    expect(weight('a.weight', [4, 4])).toEqual(weight('a.weight', [4, 4]));
    expect(weight('a.weight', [4, 4])).not.toEqual(weight('b.weight', [4, 4]));
    for (const x of weight('layer_norm1.weight', [50])) expect(Math.abs(x - 1)).toBeLessThanOrEqual(0.1);
  });
  it('take as many dispatches on a device that does nothing as on one that does', async () => {
    const config = { model_type: 'llama', hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, vocab_size: 8 };
    const device = await Device.request({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
    const counts: number[] = [];
    for (const at of [device, Device.from(idleDevice(device.gpu))]) {
      const model = await generating(at, { ...config, num_attention_heads: 2 }, 'q8', { prompt: 5, answer: 4 });
      const before = at.counters.dispatches;
      const { first_us, step_us } = await model.round();
      counts.push(at.counters.dispatches - before);
      for (const figure of [first_us, step_us, model.weights, model.cache]) expect(figure).toBeGreaterThan(0);
      model.dispose();
    }
    expect(counts[0]).toBe(counts[1]);
    device.dispose();
  });
});

describe('the matrix', () => {
  it('has a small graph for every row', () => {
    for (const { kernel, shape } of cases('peers')) {
      const file = `bench/peers/graphs/${kernel}-${shape}.onnx`;
      expect([file, existsSync(file) && statSync(file).size < 100_000]).toEqual([file, true]);
    }
  });
  it('rotates inputs past caches, with other values in each set', () => {
    const c = caseOf('gemm', [1024, 1024, 1024]);
    expect(setsOf(c)).toBe(8);
    expect(values(c, 0, 1)).not.toEqual(values(c, 0, 0));
    expect(values(c, 0, 1)).not.toEqual(values(c, 1, 1));
    const table = caseOf('embedding', [40, 8, 6]);
    expect(values(table, 0, 1)).toEqual(values(table, 0, 0));
  });
});

it('permutes as a transposed view does', () => {
  const x = Float32Array.from({ length: 24 }, (_, i) => i);
  const y = permute(x, [2, 3, 4], [2, 0, 1]); // y[k, i, j] = x[i, j, k]
  expect(y[(3 * 2 + 1) * 3 + 2]).toBe(x[(1 * 3 + 2) * 4 + 3]);
  expect(permute(y, [4, 2, 3], [1, 2, 0])).toEqual(x);
});

it('says how samples lie', () => {
  expect(median([5, 1, 3])).toBe(3);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(spread([10, 11, 10, 12, 10])).toBeCloseTo(0.1);
  expect(difference(Float32Array.of(1, 4), Float32Array.of(1, 3))).toBe(0.25);
  expect(difference(Float32Array.of(1, 4), Float32Array.of(1))).toBeNaN();
});

it('knows whether the peers are there', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tessera-'));
  expect(peersInstalled(folder)).toBe(false);
  rmdirSync(folder);
});

describe('npm run bench', () => {
  const bench = (...args: string[]) => promisify(execFile)(process.execPath, ['bench/start.js', ...args]);
  it('prints one JSON object', { timeout: 180_000 }, async () => {
    const { stdout } = await bench(
      'kernels',
      '--filter',
      'layer_norm 50',
      '--quick',
      '--json',
      '--adapter',
      'swiftshader',
    );
    const { adapter, rows, ceilings } = JSON.parse(stdout);
    expect(adapter).toBe('swiftshader');
    expect(rows).toHaveLength(1);
    const { kernel, shape, dtype, ours_us, bound, percent_of_copy } = rows[0];
    expect({ kernel, shape, dtype, bound }).toEqual({
      kernel: 'layer_norm',
      shape: '50x768',
      dtype: 'f32',
      bound: 'memory',
    });
    for (const figure of [ours_us, percent_of_copy, ...Object.values(ceilings)]) expect(figure).toBeGreaterThan(0);
  });
  it.each([[['gemm']], [['kernels', 'models']], [['--filter', 'nothing']], [['--fast']]])(
    'explains itself to %j',
    { timeout: 60_000 },
    async (args) => {
      const error = await bench(...args).catch((e) => e);
      expect(error.code).toBe(2);
      expect(error.stderr).toContain('usage: npm run bench');
      expect(error.stdout).toBe('');
    },
  );
});
