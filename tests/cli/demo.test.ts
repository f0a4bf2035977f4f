// The demo page in Chromium, as a visitor sees it: it loads the shipped model, names a drawing, and follows the labels.
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium } from '../runtimes/chromium.ts';
import { build, ROOT } from './run.ts';

const PATIENCE = 180_000;
let server: ChildProcess;
let address: string;

beforeAll(async () => {
  await build();
  const deno = 'Deno' in globalThis ? ['run', '--allow-all', '--no-lock'] : [];
  server = spawn(process.execPath, [...deno, path.join(ROOT, 'demo/serve.js'), '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  address = await new Promise<string>((resolve) => server.stdout!.once('data', (line) => resolve(String(line).trim())));
}, PATIENCE);
afterAll(() => server.kill());

test(
  'names a drawing and follows the labels',
  async () => {
    const browser = await openChromium(true);
    try {
      const page = await browser.newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(String(error)));
      await page.goto(address);
      await page.waitForFunction("/ ms on |Sorry/.test(document.getElementById('status').textContent)", {
        timeout: PATIENCE,
      });
      const text = (id: string) => page.evaluate(`document.getElementById('${id}').textContent`) as Promise<string>;
      expect(await text('status')).toMatch(/^\d+ ms on \S/);
      expect((await text('bars')).match(/\d+\.\d %/g)).toHaveLength(8);
      const labels = 'document.getElementById("labels")';
      await page.evaluate(`${labels}.value = "zebra one, zebra two"; ${labels}.dispatchEvent(new Event("input"))`);
      await page.waitForFunction("/zebra two/.test(document.getElementById('bars').textContent)", {
        timeout: PATIENCE,
      });
      expect((await text('bars')).match(/\d+\.\d %/g)).toHaveLength(2);
      expect(errors).toEqual([]);
    } finally {
      await browser.close();
    }
  },
  PATIENCE,
);

test('serves what the page needs and nothing else', async () => {
  const status = async (file: string) => (await fetch(new URL(file, address))).status;
  expect(await status('/weights/world/concepts.json')).toBe(200);
  expect(
    await Promise.all(['/package.json', '/demo/../package.json', '/demo/%2e%2e/package.json', '/nothing'].map(status)),
  ).toEqual([404, 404, 404, 404]);
});
