import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OutOfMemory } from '../../src/gpu/pool.ts';
import { DeviceLost, pipeline, run, type Tensor, tensor, UserError } from '../../src/index.ts';
import { packError, packResult, unpack, unpackError } from '../../src/tasks/wire.ts';
import { build } from '../cli/run.ts';
import { END, letterTokenizer, START } from '../tasks/support.ts';
import { bundle } from './bundle.ts';
import { closeBrowsers, runIn } from './launch.ts';
import type { main } from './worker.ts';

const TASK = 'zero-shot-image-classification';

describe('in a page', () => {
  let found: Awaited<ReturnType<typeof main>>;
  beforeAll(async () => {
    await build();
    const program = await bundle(new URL('worker.ts', import.meta.url));
    const options = { tokenizer: letterTokenizer(END, START) };
    found = (await runIn('chromium-page', program, options, { timeout: 120_000 })) as never;
  }, 180_000);
  afterAll(closeBrowsers);

  test('a worker gives what the page gives, results and errors', () => {
    for (const [name, [here, there]] of Object.entries(found.same)) expect([name, there]).toEqual([name, here]);
    expect(found.same.list[0]).toMatch(/"score":0\.\d/);
    expect(found.same.missing[0]).toMatch(/^UserError: UserError: \[missing.png\] cannot be fetched/);
    expect(found.same.bad_model[0]).toMatch(/^UserError: UserError: .*no config.json/);
    expect(found.same.bad_dtype[0]).toMatch(/^UserError: UserError: .*got 'f64'/);
    expect(found.kept).toBe(true); // nothing was detached
  });
  test('progress is the same', () => {
    expect(found.events.here.length).toBeGreaterThan(2);
    expect(found.events.there.slice(0, found.events.here.length)).toEqual(found.events.here);
  });
  test('what cannot be done is told', () => {
    const { refused } = found;
    const wrong = 'UserError: UserError: ';
    expect(refused.element).toMatch(`${wrong}[${TASK}] something given cannot go to a worker: `);
    expect(refused.device).toMatch(`${wrong}[${TASK}] something given cannot go to a worker: `);
    expect(refused.memory).toMatch('OutOfMemory: OutOfMemory: ');
    expect(refused.adapter).toMatch("Error: Error: [gpu] no WebGPU adapter: got none, want 'none such'");
    expect(refused.missing_script).toMatch(`${wrong}[pipeline] worker: got none from /dist/none.js (`);
    expect(refused.other_origin).toMatch(
      `${wrong}[pipeline] worker: got none from https://example.invalid/worker.js (`,
    );
    expect(refused.other_origin).toMatch('From another origin: new Worker(URL.createObjectURL(');
    expect(refused.callback).toBe('RangeError: RangeError: of the callback');
  });
  test('an abort reaches the worker, and its reason comes back', () => {
    expect(found.aborted).toEqual([true, true, true, true]);
  });
  test('a worker that dies is told, and the next call starts another', () => {
    const died = `DeviceLost: DeviceLost: [${TASK}] the worker ended before it answered: call again, and another starts`;
    expect(found.killed).toMatchObject({ call: died, started: 1 });
    expect(found.right).toBe(true);
  });
  test('a Worker that was given serves one task', () => {
    const again = 'UserError: UserError: [pipeline] worker: got a Worker that had a task already, want a new one';
    expect(found.of_given).toEqual({ relative: true, twice: again, killed: expect.any(String), next: again });
    expect(found.of_given.killed).toMatch('make a new one and open the task again');
  });
  test('dispose ends the worker', () => {
    const text = `Error: Error: [${TASK}] was disposed and is used again`;
    expect(found.disposed).toEqual([text, text]);
    expect(found.alive).toEqual([1, 1, 0]);
  });
});

test('elsewhere there is none', async () => {
  const wish = pipeline(TASK, 'any/model', { worker: true });
  await expect(wish).rejects.toThrow(/^\[pipeline\] worker: got (node|bun|deno), want a page/);
  await expect(wish).rejects.toBeInstanceOf(UserError);
});

test.each([UserError, DeviceLost, OutOfMemory, TypeError, RangeError])('%o stays what it is', (kind) => {
  const sent = new kind('what: got, want');
  const got = unpackError(structuredClone(packError(sent))) as Error;
  expect(got).toBeInstanceOf(kind);
  expect([got.name, got.message, got.stack]).toEqual([sent.name, sent.message, sent.stack]);
  const odd = new kind('odd', { cause: { call: () => {} } });
  expect((unpackError(structuredClone(packError(odd))) as Error).message).toBe('odd');
});

test('tensors in results arrive with their values', async () => {
  const half = tensor([0.1, -2], { dtype: 'f16' });
  const sum = tensor([[1, 2, 3]]).add(tensor([[1], [2]]));
  const result = { all: [half, { flags: tensor([true, false]) }], sum, again: sum, texts: ['a'], none: null };
  const want = [await half.tolist(), await sum.tolist()];
  const got = unpack(structuredClone(await packResult(result))) as typeof result;
  expect(got).toMatchObject({ texts: ['a'], none: null });
  const [first, second] = got.all as [Tensor, { flags: Tensor }];
  expect([await first.tolist(), await got.sum.tolist(), await got.again.tolist()]).toEqual([...want, want[1]]);
  expect([first.dtype, second.flags.dtype, await second.flags.tolist()]).toEqual(['f16', 'bool', [true, false]]);
  await expect(sum.add(1).data()).rejects.toThrow('was disposed'); // what was sent
});

test('nothing is left of a result that cannot be sent', async () => {
  const [one, other] = [tensor([1]), tensor([2])];
  await run([one, other]);
  other.dispose();
  await expect(packResult([one, other.add(1)])).rejects.toThrow('was disposed');
  await expect(one.add(1).data()).rejects.toThrow('was disposed');
});
