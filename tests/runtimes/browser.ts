// Runs a bundle in a page or a module worker of Chromium. One browser for each kind of adapter serves all runs.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { Browser } from 'puppeteer-core';
import { ROOT } from './bundle.ts';
import { openChromium } from './chromium.ts';
import type { Json } from './launch.ts';

const TYPES: Record<string, string> = {
  '.mjs': 'text/javascript',
  '.js': 'text/javascript',
  '.json': 'application/json',
};

type Result = { result: Json } | { error: string };

const browsers = new Map<boolean, Promise<Browser>>();
let server: Promise<Server> | undefined;

/** Runs `main(options)` of a browser bundle. Rejects with the page's console when it fails or takes too long. */
export async function runInChromium(
  where: 'page' | 'worker',
  bundle: string,
  options: object,
  { software, timeout }: { software: boolean; timeout: number },
): Promise<Json> {
  const origin = await serve();
  const url = `${origin}/${path.relative(ROOT, bundle)}`;
  const browser = await browserFor(software);
  const page = await browser.newPage();
  const log: string[] = [];
  page.on('console', (message) => log.push(message.text()));
  page.on('pageerror', (error) => log.push(String(error)));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Result>((resolve) => {
    timer = setTimeout(() => resolve({ error: `took longer than ${timeout} ms` }), timeout);
  });
  const start = async (): Promise<Result> => {
    await page.goto(origin);
    // as text: a test runner rewrites functions
    const call = `${where}(${JSON.stringify(url)}, ${JSON.stringify(options)})`;
    return (await page.evaluate(`import('/tests/runtimes/page.js').then(({ ${where} }) => ${call})`)) as Result;
  };
  try {
    const answer = await Promise.race([start().catch((error: Error): Result => ({ error: error.message })), late]);
    if ('result' in answer) return answer.result;
    throw new Error([answer.error, ...log].join('\n'));
  } finally {
    clearTimeout(timer);
    // a page that hangs may not close: the browser goes, and the next run opens another
    if (!(await isDone(page.close(), 2000))) await end(software);
  }
}

/** Ends what the runs have opened. */
export async function closeBrowsers(): Promise<void> {
  await Promise.all([end(true), end(false)]);
  const opened = await server;
  server = undefined;
  opened?.closeAllConnections();
  await new Promise<void>((resolve) => (opened ? opened.close(() => resolve()) : resolve()));
}

function browserFor(software: boolean): Promise<Browser> {
  let browser = browsers.get(software);
  if (!browser) {
    browser = openChromium(software);
    browsers.set(software, browser);
    browser.then(
      (opened) => opened.once('disconnected', () => browsers.get(software) === browser && browsers.delete(software)),
      () => browsers.delete(software),
    );
  }
  return browser;
}

async function end(software: boolean): Promise<void> {
  const browser = await browsers.get(software)?.catch(() => undefined);
  browsers.delete(software);
  if (!browser) return;
  const child = browser.process();
  if (!(await isDone(browser.close(), 3000))) child?.kill('SIGKILL');
}

async function isDone(work: Promise<void>, ms: number): Promise<boolean> {
  const late = new Promise<false>((resolve) => setTimeout(resolve, ms, false).unref());
  return Promise.race([work.then(() => true).catch(() => false), late]);
}

/** The repository over http://127.0.0.1 (a secure context), with an empty page at /. */
async function serve(): Promise<string> {
  server ??= new Promise<Server>((resolve, reject) => {
    const created = createServer(async ({ url }, response) => {
      const name = decodeURIComponent(new URL(url ?? '/', 'http://localhost').pathname);
      if (name === '/')
        return response.setHeader('content-type', 'text/html').end('<!doctype html><title>tests</title>');
      const file = path.join(ROOT, name);
      const found = file.startsWith(ROOT) ? await stat(file).catch(() => undefined) : undefined;
      if (!found?.isFile()) return response.writeHead(404).end();
      response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream');
      return createReadStream(file).pipe(response);
    });
    created.once('error', reject);
    created.listen(0, '127.0.0.1', () => resolve(created.unref()));
  });
  return `http://127.0.0.1:${((await server).address() as AddressInfo).port}`;
}
