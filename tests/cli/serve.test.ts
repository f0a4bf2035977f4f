// tessera serve from outside: it says where it listens, answers, and ends in order.
import { readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chatFolder, golden } from '../tasks/support.ts';
import { asModel, build, makeFolder, PATIENCE, ROOT, type Run, tessera } from './run.ts';

let folder: string;
let model: string[];
beforeAll(async () => {
  folder = await makeFolder();
  model = await asModel(chatFolder(), `${folder}/llama`);
  await build();
}, PATIENCE);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

const ask = { model: 'llama', messages: [{ role: 'user', content: 'hello' }], max_tokens: 100, temperature: 0 };
const post = (url: string, body: object) =>
  fetch(`${url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

describe.each(['own', 'bun', 'deno'] as const)('in %s', (runtime) => {
  test('streams, frees what a client leaves, and ends at a signal', { timeout: PATIENCE }, async () => {
    const answers: string[] = [];
    let talk: Promise<void> | undefined;
    const onOutput: Run['onOutput'] = (child, out) => {
      if (talk || !out.endsWith('}\n')) return;
      const { url, models } = JSON.parse(out);
      expect(models).toEqual(['llama', 'tessera-clip']);
      talk = (async () => {
        const whole = await post(url, ask);
        const { choices, usage } = (await whole.json()) as { choices: { message: object }[]; usage: object };
        answers.push(JSON.stringify([choices[0]!.message, usage]));
        for (let i = 0; i < 3; i++) {
          const control = new AbortController(); // of the two turns none would be left
          const response = await fetch(`${url}/chat/completions`, {
            ...{ method: 'POST', headers: { 'content-type': 'application/json' }, signal: control.signal },
            body: JSON.stringify({ ...ask, stream: true }),
          });
          await response.body!.getReader().read();
          control.abort();
        }
        const text = await (await post(url, { ...ask, stream: true })).text();
        expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
        const pieces = text
          .split('\n\n')
          .slice(0, -2)
          .map((line) => JSON.parse(line.slice('data: '.length)));
        const content = pieces.map(({ choices }) => choices[0].delta.content ?? '').join('');
        expect({ role: 'assistant', content, refusal: null }).toEqual(choices[0]!.message);
        const bad = await post(url, { ...ask, n: 2 });
        expect([bad.status, await bad.json()]).toMatchObject([400, { error: { param: 'n' } }]);
        const large = await post(url, { ...ask, user: 'x'.repeat(2 ** 21) });
        expect([large.status, await large.json()]).toMatchObject([413, { error: { code: 'request_too_large' } }]);
      })().finally(() => child.kill('SIGTERM'));
    };
    const args = ['serve', ...model, '--embeddings', '--port', '0', '--json', '--max-body', '1'];
    const { code, err } = await tessera(args, { runtime, onOutput });
    await talk;
    expect([code, err]).toEqual([0, '']);
    expect(answers.length).toBe(1);
  });
});

test('without a model serves the one that ships, with pictures, and says so', { timeout: PATIENCE }, async () => {
  const image = `data:image/png;base64,${(await readFile(golden('llava/picture0.png'))).toString('base64')}`;
  const content = [
    { type: 'image_url', image_url: { url: image } },
    { type: 'text', text: 'what is on the left?' },
  ];
  let talk: Promise<void> | undefined;
  const onOutput: Run['onOutput'] = (child, out) => {
    const url = /^tessera-llava on .* at (\S+)/.exec(out)?.[1];
    if (talk || !url) return;
    talk = (async () => {
      const answer = await post(url, { model: 'tessera-llava', messages: [{ role: 'user', content }], max_tokens: 3 });
      expect([answer.status, await answer.json()]).toMatchObject([200, { usage: { completion_tokens: 3 } }]);
    })().finally(() => child.kill('SIGTERM'));
  };
  const { code, err } = await tessera(['serve', '--port', '0'], { onOutput });
  await talk;
  expect(code).toBe(0);
  expect(err).toMatch(/^tessera-llava, the small model that ships: it knows a drawn world/);
});

test.each([
  [['--embeddings', '--port', '70000'], 'Want a whole number from 0 to 65535'],
  [['--embeddings', '--allow-origin', 'localhost:3000'], 'Want http://NAME:PORT'],
  [['--embeddings', '--queue', '1.5'], 'Want a whole number from 0 to 100000'],
  [['--model', 'tests/goldens/cases/clip'], 'got model_type "clip", want one of llama, mistral, llava'],
  [['--embeddings', 'tests/goldens/cases/llama'], 'got model_type "llama", want one of clip, siglip'],
  [['--embeddings', '--allow-files', 'README.md'], '[README.md] no such folder: want one with pictures'],
])('%j: one line, exit code 2', { timeout: PATIENCE }, async (args, message) => {
  const { code, out, err } = await tessera(['serve', ...args]);
  expect([code, out, err.trim().split('\n').length]).toEqual([2, '', 1]);
  expect(err).toContain(message);
});

test('a port that is taken is told before a model is loaded', async () => {
  const other = createServer();
  await new Promise<void>((done) => other.listen(0, '127.0.0.1', done));
  const { port } = other.address() as AddressInfo;
  const { code, err } = await tessera(['serve', '--port', `${port}`, '--model', 'none']);
  other.close();
  expect([code, err]).toEqual([2, `error: [serve] port ${port} is taken: want another --port, or 0 for a free one\n`]);
});
