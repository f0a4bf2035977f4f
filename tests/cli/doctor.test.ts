// tessera doctor from outside: what it prints, and its exit codes.
import { spawnSync } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { build, makeFolder, PATIENCE, ROOT, tessera } from './run.ts';

let folder: string;
beforeAll(async () => {
  folder = await makeFolder();
  await build();
}, PATIENCE);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

/** What this process says, less Dawn's and Mesa's warnings. */
const own = (err: string) => err.split('\n').filter((line) => line !== '' && !/^Warning: |shader cache/.test(line));

describe('doctor', () => {
  test(
    'prints adapters, the self-test and a verdict',
    async () => {
      const { code, out, err } = await tessera(['doctor', '--adapter', 'software']);
      expect({ code, err: own(err) }).toEqual({ code: 0, err: [] });
      expect(out).toMatch(/^tessera \d+\.\d+\.\d+ in /);
      expect(out).toMatch(/\n {2}swiftshader +google +software /);
      expect(out).toMatch(/\n {2}ok {3}matmul +\d\.\de-\d+ +\d\.\de-\d+\n/);
      expect(out).not.toMatch(/\n {2}off/);
      expect(out).toMatch(/\nhealthy\n$/);
    },
    PATIENCE,
  );
  test(
    '--json is one document',
    async () => {
      const { code, out } = await tessera(['doctor', '--json']);
      const health = JSON.parse(out);
      expect(code).toBe(0);
      expect(health).toMatchObject({ command: 'doctor', healthy: true, adapter: { name: 'swiftshader' } });
      for (const name of ['version', 'runtime', 'adapters', 'features', 'limits', 'advice']) {
        expect(health).toHaveProperty(name);
      }
      for (const { ok, error, bound } of health.checks.slice(1))
        expect({ ok, within: error <= bound }).toEqual({ ok: true, within: true });
    },
    PATIENCE,
  );
  test(
    'an adapter that is not there is a report and code 1',
    async () => {
      const { code, out, err } = await tessera(['doctor', '--adapter', 'no such']);
      expect(code).toBe(1);
      expect(out).toMatch(/\n {2}off {2}device /);
      expect(out).toMatch(/\nwhat to do\n {2}None that works is 'no such'.*\n\nnot healthy\n$/);
      expect(own(err)).toEqual(['error: [doctor] not healthy: device off; what was printed says what to do']);
    },
    PATIENCE,
  );
  test(
    'one altered kernel is code 1',
    async () => {
      const program = await readFile(path.join(ROOT, 'dist/cli.js'), 'utf8');
      const altered = program.replace('0.70710678118654752', '0.7072');
      expect(altered).not.toBe(program);
      const file = path.join(ROOT, folder, 'cli.mjs'); // finds the same node_modules
      await writeFile(file, altered);
      const { status, stdout } = spawnSync(process.execPath, [file, 'doctor', '--adapter', 'software', '--json'], {
        encoding: 'utf8',
      });
      const { healthy, checks } = JSON.parse(stdout);
      expect({ status, healthy }).toEqual({ status: 1, healthy: false });
      expect(checks.filter(({ ok }: { ok: boolean }) => !ok)).toMatchObject([{ name: 'gelu' }, { name: 'gradient' }]);
    },
    PATIENCE,
  );
  test.each([
    [['--bogus'], "error: unknown option '--bogus'"],
    [['x'], "error: too many arguments for 'doctor'. Expected 0 arguments but got 1."],
  ])('%s is code 2', async (args, message) => {
    const { code, out, err } = await tessera(['doctor', ...args]);
    expect({ code, out, err }).toEqual({ code: 2, out: '', err: `${message}\n` });
  });
});
