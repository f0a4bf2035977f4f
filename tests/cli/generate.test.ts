// tessera generate and tessera chat from outside, on a tiny model that talks nonsense.
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pipeline } from '../../src/index.ts';
import { chatFolder } from '../tasks/support.ts';
import { asModel, build, makeFolder, PATIENCE, ROOT, tessera } from './run.ts';

let folder: string;
let model: string[];
/** What the library says. */
let want: { raw: string; answer: string };
beforeAll(async () => {
  folder = await makeFolder();
  model = await asModel(chatFolder(), `${folder}/llama`);
  await build();
  using generate = await pipeline('text-generation', chatFolder());
  const options = { max_new_tokens: 6, return_full_text: false };
  const [raw] = await generate('hello', options);
  const [answer] = await generate([{ role: 'user', content: 'hello' }], options);
  want = { raw: raw!.generated_text, answer: answer!.generated_text.at(-1)!.content };
}, PATIENCE);
afterAll(() => rm(path.join(ROOT, folder), { recursive: true }));

const SIX = ['--max-new-tokens', '6'];

describe('generate', () => {
  test('goes on from a text as it is', { timeout: PATIENCE }, async () => {
    const ended = await tessera(['generate', ...model, '--prompt', 'hello', '--raw', '--greedy', ...SIX]);
    expect(ended).toEqual({ code: 0, out: `${want.raw}\n`, err: '' });
  });
  test('--json has the tokens', { timeout: PATIENCE }, async () => {
    const { code, out, err } = await tessera(['generate', ...model, '--prompt', 'hello', '--greedy', ...SIX, '--json']);
    expect([code, err]).toEqual([0, '']);
    const { prompt_ids, ids, text, stats, finish_reason } = JSON.parse(out);
    expect([text, ids.length, finish_reason]).toEqual([want.answer, 6, 'length']);
    expect(prompt_ids.length).toBe('[user]hello'.length + 1 + '[assistant]'.length);
    expect(stats).toMatchObject({ prompt_tokens: prompt_ids.length, new_tokens: 6, reused_tokens: 0 });
  });
  test('draws the same for a seed', { timeout: PATIENCE }, async () => {
    const args = ['generate', ...model, '--prompt', 'hello', '--raw', ...SIX, '--temperature', '1.5', '--seed'];
    const [one, again] = await Promise.all([tessera([...args, '7']), tessera([...args, '7'])]);
    expect([one!.code, one!.err]).toEqual([0, '']);
    expect(one!.out).toBe(again!.out);
  });

  test.each([
    [['--prompt', 'x'.repeat(140), '--raw'], 'the prompt has 140 tokens, 13 more than fit with an answer'],
    [['--prompt', 'hello', '--greedy', '--top-k', '3'], '--greedy: got options of sampling beside it'],
    [['--prompt', 'hello', '--max-new-tokens', '0'], 'Want a whole number from 1'],
    [['--prompt', 'hello', '--seed', '1.5'], 'Want a whole number from 0'],
    [['--prompt', 'hello', '--top-k', '1e2'], 'Want a whole number from 0'],
    [['--prompt', 'hello', '--top-p', '2'], 'top_p: got 2, want a number in (0, 1]'],
    [['--prompt', ''], '--prompt: got nothing'],
    [[], "required option '--prompt"],
  ])('%j: one line, exit code 2', { timeout: PATIENCE }, async (args, message) => {
    const { code, out, err } = await tessera(['generate', ...model, ...args]);
    expect([code, out]).toEqual([2, '']);
    expect(err.trim().split('\n').length).toBe(1);
    expect(err).toContain(message);
  });
  test('says what models it takes', { timeout: PATIENCE }, async () => {
    const clip = ['--model', 'tests/goldens/cases/clip'];
    const { code, err } = await tessera(['generate', ...clip, '--prompt', 'hello']);
    expect([code, err]).toEqual([2, expect.stringContaining('got model_type "clip", want one of llama')]);
  });
});

describe('chat', () => {
  test('answers what is piped in once, in plain text', { timeout: PATIENCE }, async () => {
    const ended = await tessera(['chat', ...model, '--greedy', ...SIX], { input: 'hello\n' });
    expect(ended).toEqual({ code: 0, out: `${want.answer}\n`, err: '' });
  });
  test('wants a question', { timeout: PATIENCE }, async () => {
    const { code, err } = await tessera(['chat', ...model], { input: '\n' });
    expect([code, err]).toEqual([2, 'error: [chat] stdin: got nothing, want a question\n']);
  });
});
