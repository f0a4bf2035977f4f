// Where the output goes: a reader that goes away, a full disk, a page that is served, a terminal's columns.
import { spawnSync } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rows } from '../../src/cli/classifier.ts';
import { columns, oneLine, pad, shorten, visible, widest, wrap } from '../../src/cli/text.ts';
import { writeSafetensors } from '../../src/io/safetensors.ts';
import { build, makeFolder, ROOT, tessera } from './run.ts';

let folder: string;
beforeAll(async () => {
  folder = await makeFolder();
  await build();
});
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

test('a reader that goes away is no error', async () => {
  const many = Array.from(
    { length: 4000 },
    (_, i) => [`layer.${i}`, { dtype: 'U8', shape: [1], data: new Uint8Array(1) }] as const,
  );
  const file = path.join(ROOT, folder, 'many.safetensors');
  await writeFile(file, writeSafetensors(many));
  expect(await tessera(['inspect', file], { hangUp: true })).toMatchObject({ code: 0, err: '' });
});

test('a full disk is one line', async () => {
  const full = { stdout: '/dev/full' };
  for (const args of [['inspect', 'weights/tessera-clip'], ['--help']]) {
    const { code, err } = await tessera(args, { to: full });
    expect(code).toBe(1);
    expect(err).toMatch(/^error: .*no space left.*\n$/i);
  }
  expect((await tessera(['inspect', 'nowhere'], { to: { stderr: '/dev/full' } })).code).toBe(2);
});

test('the demo says in one line why its port does not do', async () => {
  const serve = (port: string) => {
    const deno = 'Deno' in globalThis ? ['run', '--allow-all', '--no-lock', '--quiet'] : [];
    const { status, stderr } = spawnSync(process.execPath, [...deno, path.join(ROOT, 'demo/serve.js'), port]);
    return { status, err: String(stderr) };
  };
  for (const port of ['abc', '65536', '-1'])
    expect(serve(port)).toEqual({
      status: 2,
      err: `[serve] port: got '${port}', want 0 to 65535 (0: any that is free)\n`,
    });
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { status, err } = serve(String((other.address() as AddressInfo).port));
  other.close();
  expect(status).toBe(1);
  expect(err).toMatch(/^\[serve\] .*(EADDRINUSE|in use).*; try another: npm run demo -- 0\n$/i);
});

test('a text that is too long', () => {
  expect([shorten('a cat', 5), shorten('a cat', 4), shorten('樱桃樱桃', 6), shorten('樱桃', 4)]).toEqual([
    'a cat',
    'a c…',
    '樱桃…',
    '樱桃',
  ]);
  const start = performance.now();
  expect(shorten('x'.repeat(1e7), 8)).toBe('xxxxxxx…');
  expect(performance.now() - start).toBeLessThan(1000);
});

test('columns of a text', () => {
  const widths = {
    abc: 3,
    樱桃: 4,
    ｶﾅ: 2,
    カナ: 4,
    한국: 4,
    '🍒': 2,
    '👩‍👩‍👧': 2,
    '❤️': 2,
    '🇩🇪': 2,
    é: 1,
    'e\u0301': 1,
    '\u200b': 0,
  };
  expect(Object.fromEntries(Object.keys(widths).map((text) => [text, columns(text)]))).toEqual(widths);
  expect([pad('樱', 4), pad('abcde', 4), widest(['a', '樱桃', 'abc']), widest([])]).toEqual(['樱  ', 'abcde', 4, 0]);
});

test('long text goes on in the next line', () => {
  expect(wrap('a bb ccc dddddd e', 6)).toEqual(['a bb', 'ccc', 'dddddd', 'e']);
  expect(wrap('樱桃 a incomprehensible', 6)).toEqual(['樱桃 a', 'incomprehensible']);
});

test('text from outside', () => {
  expect(visible('a\n\x1b[0m\x9b\u202e\u2028 樱 é')).toBe('a\\x0a\\x1b[0m\\x9b\\u202e\\u2028 樱 é');
  expect(oneLine(' Tried:\n  a\n  b.\nDo c\n(or d)\n')).toBe('Tried: a; b. Do c (or d)');
});

test('labels are as wide as they look, and none acts on the terminal', () => {
  const of = ['樱桃', 'a\x1b[31m', '👩‍🚀🍒', 'b'].map((label) => ({ label, score: 1 }));
  const names = rows(of, { colour: false, pictures: 'none' }).map((row) => row.split('  █')[0]);
  expect(names).toEqual(['  樱桃     ', '  a\\x1b[31m', '  👩‍🚀🍒     ', '  b        ']);
});
