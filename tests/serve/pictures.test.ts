// Pictures in requests: in the request itself, from addresses and files where they are allowed, and what is no picture.
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageTextGenerator } from '../../src/index.ts';
import { llavaPictures } from '../tasks/support.ts';
import { live, openVision, refusal, type Served } from './support.ts';

const [red, blue] = llavaPictures.map((file) => readFileSync(file)) as [Buffer, Buffer];
const dataUrl = (bytes: Buffer, type = 'image/png') => `data:${type};base64,${bytes.toString('base64')}`;
const PATIENCE = 300; // ms

let closed: Served<ImageTextGenerator>;
let opened: Served<ImageTextGenerator>;
let folder: string;
/** Pictures by HTTP: /red, /never, /endless, /none. */
const web = createServer((request, response) => {
  if (request.url === '/red') response.end(red);
  if (request.url === '/none') response.writeHead(404).end();
  if (request.url === '/endless') {
    const more = setInterval(() => response.write(Buffer.alloc(2 ** 15)), 1);
    response.on('close', () => clearInterval(more));
  }
});
let site: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tessera-serve-'));
  await mkdir(path.join(folder, 'in'));
  await writeFile(path.join(folder, 'in', 'red.png'), red);
  await writeFile(path.join(folder, 'out.png'), red);
  await symlink(path.join(folder, 'out.png'), path.join(folder, 'in', 'link.png'));
  await new Promise<void>((done) => web.listen(0, '127.0.0.1', done));
  site = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  closed = await openVision();
  opened = await openVision({
    ...{ allowUrls: true, allowFiles: path.join(folder, 'in'), maxBody: 2 ** 18, patience: PATIENCE },
  });
});
afterAll(async () => {
  await Promise.all([closed, opened].map((s) => s?.[Symbol.asyncDispose]()));
  web.closeAllConnections();
  web.close();
  await rm(folder, { recursive: true });
});

type Part = OpenAI.ChatCompletionContentPart;
const image = (url: string): Part => ({ type: 'image_url', image_url: { url } });
const text = (text: string): Part => ({ type: 'text', text });
const request = (content: Part[]): OpenAI.ChatCompletionCreateParamsNonStreaming => ({
  ...{ model: 'tiny/model', max_tokens: 6, messages: [{ role: 'user', content }] },
});
const ask = async (s: Served<ImageTextGenerator>, ...content: Part[]) =>
  (await s.client.chat.completions.create(request(content))).choices[0]!.message.content;
const file = (name: string) => pathToFileURL(path.join(folder, name)).href;
const refused = (s: Served<ImageTextGenerator>, url: string) => refusal(ask(s, text('What?'), image(url)));

describe('pictures', () => {
  it('in the request are seen, as many as there are, where they stand', async () => {
    const content = [
      ...[
        { type: 'image' as const, image: llavaPictures[0] },
        { type: 'text' as const, text: 'and' },
      ],
      ...[
        { type: 'image' as const, image: llavaPictures[1] },
        { type: 'text' as const, text: 'What?' },
      ],
    ];
    const [want] = await closed.task([{ role: 'user', content }], { max_new_tokens: 6 });
    const parts = [image(dataUrl(red)), text('and'), image(dataUrl(blue)), text('What?')];
    expect(await ask(closed, ...parts)).toBe(want!.generated_text.at(-1)!.content);
    const events = await closed.client.chat.completions.create({ ...request(parts), stream: true });
    let streamed = '';
    for await (const { choices } of events) streamed += choices[0]!.delta.content ?? '';
    expect(streamed).toBe(want!.generated_text.at(-1)!.content);
    expect(await ask(closed, text('What?'))).toBe(await ask(closed, text('What?')));
  });

  it('from elsewhere are seen where that is allowed', async () => {
    const want = await ask(opened, image(dataUrl(red)), text('What?'));
    expect(await ask(opened, image(`${site}/red`), text('What?'))).toBe(want);
    expect(await ask(opened, image(file('in/red.png')), text('What?'))).toBe(want);
  });

  it.each([
    'http://127.0.0.1/red',
    'https://example.com/red.png',
    'file:///etc/passwd',
    '/etc/passwd',
    'red.png',
    'blob:x',
    ' data:image/png;base64,AAAA',
    '',
  ])('at %j are refused, as nothing was allowed', async (url) => {
    const error = await refused(closed, url);
    expect(error).toMatchObject({ status: 400, code: 'unsupported_image_url', type: 'invalid_request_error' });
    expect(error.param).toBe('messages[0].content[1].image_url.url');
    expect(error.message).toContain('want data:');
  });

  it.each(['out.png', 'in/../out.png', 'in/link.png', 'in', 'in/none.png'])(
    'of the file %s are not in the folder that is allowed',
    async (name) => {
      const error = await refused(opened, file(name));
      expect(error).toMatchObject({ status: 400, code: 'invalid_image_url' });
      expect(error.message).toContain('no such file in the folder that is allowed');
      const encoded = `${pathToFileURL(folder).href}/${encodeURIComponent(name)}`;
      expect(await refused(opened, encoded)).toMatchObject({ status: 400, code: 'invalid_image_url' });
    },
  );

  it.each([
    ['/none', 'got status 404'],
    ['/never', 'timeout'],
    ['/endless', 'more than 262144 bytes'],
  ])('at %s of another server are refused', async (place, message) => {
    const error = await refused(opened, `${site}${place}`);
    expect(error).toMatchObject({ status: 400, code: 'invalid_image_url', message: expect.stringContaining(message) });
  });

  const huge = Buffer.from(red);
  huge.writeUInt32BE(100_000, 16);
  huge.writeUInt32BE(100_000, 20);
  it.each([
    ['cut off', dataUrl(red.subarray(0, 500))],
    ['no picture', dataUrl(Buffer.from('no picture'))],
    ['of another kind than it says', dataUrl(Buffer.from('GIF89a\0\0\0\0\0\0'), 'image/gif')],
    ['too large', dataUrl(huge)],
    ['empty', 'data:image/png;base64,'],
    ['in broken base64', 'data:image/png;base64,%%%'],
    ['in a broken address', 'data:nonsense'],
  ])('that are %s are refused and leave nothing', async (_, url) => {
    await ask(closed, image(dataUrl(red)), text('What?'));
    const before = await live();
    expect(await refused(closed, url)).toMatchObject({ status: 400, type: 'invalid_request_error' });
    expect(await live()).toBe(before);
  });

  it('stand in messages of the user, and their placeholders nowhere', async () => {
    const messages = [{ role: 'assistant', content: [image(dataUrl(red))] }] as never;
    const work = closed.client.chat.completions.create({ ...request([]), messages });
    expect(await refusal(work)).toMatchObject({ status: 400, param: 'messages[0].content[0].type' });
    expect(await refusal(ask(closed, text('<image> What?')))).toMatchObject({ status: 400 });
  });
});
