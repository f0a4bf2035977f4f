// Answers to messages with pictures, on the tiny random LLaVA of the goldens.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  defaultDevice,
  type ImageTextGenerator,
  type ImageTextInput,
  LlavaForConditionalGeneration,
  LlavaProcessor,
  load_image,
  pipeline,
  type Session,
  type TextOptions,
  trim,
  type VisionMessage,
} from '../../src/index.ts';
import { collect } from '../collect.ts';
import { chatFolder, golden, llavaFolder, llavaPictures } from './support.ts';

const [red, blue] = llavaPictures;
const OPTIONS: TextOptions = { max_new_tokens: 8, eos_token_id: [] };
const PLACES = 9; // tokens of a picture

let look: ImageTextGenerator;
beforeAll(async () => {
  look = await pipeline('image-text-to-text', llavaFolder());
});
afterAll(() => look.dispose());

const ask = (text: string, ...images: string[]): VisionMessage => ({
  role: 'user',
  content: [...images.map((image) => ({ type: 'image' as const, image })), { type: 'text', text }],
});
const assistant = (content: string): VisionMessage => ({ role: 'assistant', content });
async function say(session: Session<ImageTextInput>, input: ImageTextInput, options: TextOptions = {}) {
  let text = '';
  for await (const piece of session.stream(input, { ...OPTIONS, ...options })) text += piece;
  return text;
}
async function anew(input: ImageTextInput, options: TextOptions = {}): Promise<string> {
  using session = look.session();
  return await say(session, input, options); // before it is disposed of
}

describe('pipeline', () => {
  it('goes on from a prompt as the reference does', async () => {
    const prompts = JSON.parse(readFileSync(golden('llava/prompts.json'), 'utf8'));
    using session = look.session();
    const images = prompts.two.images.map((file: string) => golden(`llava/${file}`));
    await say(session, { text: prompts.two.text, images }, { max_new_tokens: 12 });
    using model = await LlavaForConditionalGeneration.from_pretrained(golden('llava'));
    const processor = await LlavaProcessor.from_pretrained(golden('llava'));
    const inputs = await processor({ text: prompts.two.text, images });
    const all = (await model.generate({ ...inputs, max_new_tokens: 12, eos_token_id: [] })) as { tolist(): unknown };
    expect([[...session.last!.prompt_ids, ...session.last!.ids]]).toEqual(await all.tolist());
  });

  it('answers messages, and texts with pictures', async () => {
    const question = ask('What is it?', red);
    const answer = await anew([question]);
    const pieces: string[] = [];
    const more = { ...OPTIONS, on_text: (piece: string) => pieces.push(piece) };
    expect(await look([question], more)).toEqual([{ generated_text: [question, assistant(answer)] }]);
    expect(pieces.join('')).toBe(answer);
    const text = 'USER: <image>\nWhat is it? ASSISTANT:';
    const pixels = await load_image(red);
    expect(await look({ text, images: pixels }, { ...OPTIONS, return_full_text: false })).toEqual([
      { generated_text: await anew({ text, images: [new Uint8Array(readFileSync(red))] }) },
    ]);
    expect(await look('USER: Hi ASSISTANT:', OPTIONS)).toEqual([
      { generated_text: `USER: Hi ASSISTANT:${await anew('USER: Hi ASSISTANT:')}` },
    ]);
  });

  it('looks at the picture', async () => {
    expect(await anew([ask('Hi', red)])).not.toBe(await anew([ask('Hi', blue)]));
    expect(await anew([ask('Hi', red, blue)])).not.toBe(await anew([ask('Hi', blue, red)]));
  });

  it('takes a template that knows texts only', async () => {
    const template = '{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}';
    using plain = await pipeline('image-text-to-text', llavaFolder({ 'chat_template.jinja': template }));
    using session = plain.session();
    await say(session, [ask('Hi', red)]);
    expect(plain.tokenizer.decode(session.last!.prompt_ids)).toContain(`user: ${'<image>'.repeat(PLACES)} \nHi`);
  });

  it('works with files of the hub before transformers 5, and without a processor_config.json', async () => {
    const old = readFileSync(golden('llava/preprocessor_config.json'));
    const folder = llavaFolder({ 'processor_config.json': '{}', 'preprocessor_config.json': new Uint8Array(old) });
    using other = await pipeline('image-text-to-text', folder);
    using session = other.session();
    expect(await say(session, [ask('Hi', red)])).toBe(await anew([ask('Hi', red)]));
  });
});

describe('a session', () => {
  it('computes a picture once, and again where it is another', async () => {
    using session = look.session();
    const tower = vi.spyOn(look.model, 'get_picture_tokens');
    const first = await say(session, [ask('What is it?', red)]);
    expect([session.last!.stats.reused_tokens, tower.mock.calls.length]).toEqual([0, 1]);
    const talk = [ask('What is it?', red), assistant(first), ask('And this?', blue)];
    const second = await say(session, talk);
    const [last] = tower.mock.calls.at(-1)!;
    expect([tower.mock.calls.length, last.pixel_values.shape[0]]).toEqual([2, 1]); // the new one alone
    expect(session.last!.stats.reused_tokens).toBeGreaterThan(PLACES);
    expect(await say(session, talk)).toBe(second);
    expect([session.last!.stats.reused_tokens, tower.mock.calls.length]).toEqual([
      session.last!.prompt_ids.length - 1,
      2,
    ]);
    expect(second).toBe(await anew(talk));
    const other = await say(session, [ask('What is it?', blue)]); // the same tokens, another picture
    expect(session.last!.stats.reused_tokens).toBeLessThan(PLACES);
    expect(other).toBe(await anew([ask('What is it?', blue)]));
    tower.mockRestore();
  });

  it('is put away and taken up again with its pictures', async () => {
    using session = look.session();
    const talk = [ask('What is it?', red), assistant(await say(session, [ask('What is it?', red)])), ask('Sure?')];
    const file = await session.save();
    using later = look.session();
    await later.load(file);
    expect(await say(later, talk)).toBe(await anew(talk));
    expect(later.last!.stats.reused_tokens).toBeGreaterThan(PLACES);
    await later.load(file);
    expect(await say(later, [ask('What is it?', blue)])).toBe(await anew([ask('What is it?', blue)]));
  });

  it('drops whole pictures where a prompt is too long', async () => {
    const long = 'a b c d e f g '.repeat(6);
    const text = `<image><image>\n${long}`;
    const ids = look.tokenizer.encode(text).length + 2 * (PLACES - 1);
    expect(ids).toBeLessThan(128);
    const want = await anew({ text: `<image>\n${long}`, images: [blue] }, { max_new_tokens: 1 });
    expect(want).toBeDefined();
    const more = 'h '.repeat(128 - ids);
    await expect(anew({ text: text + more, images: [red, blue] })).rejects.toThrow('more than fit with an answer');
    using session = look.session();
    await say(session, { text: text + more, images: [red, blue] }, { truncation: true });
    const { prompt_ids } = session.last!;
    expect(prompt_ids.filter((id) => id === look.model.image_token_id).length % PLACES).toBe(0);
  });

  it('leaves no buffer', async () => {
    const device = await defaultDevice();
    let after2 = 0;
    for (let round = 0; round < 5; round++) {
      await anew([ask('What is it?', red, blue)]);
      await trim(device);
      if (round === 1) after2 = device.pool.stats.live;
    }
    for (let i = 0; i < 100 && device.pool.stats.live > after2; i++) await collect(); // constants of dropped recordings
    expect(device.pool.stats.live).toBeLessThanOrEqual(after2);
  });

  it('goes on after an abort, and after the device was lost', async () => {
    const input = [ask('What is it?', red)];
    const whole = await anew(input);
    using session = look.session();
    const controller = new AbortController();
    const cut = (async () => {
      for await (const _ of session.stream(input, { ...OPTIONS, signal: controller.signal })) controller.abort();
    })();
    await expect(cut).rejects.toThrow(/abort/);
    expect(await say(session, input)).toBe(whole);
    const device = await defaultDevice();
    let text = '';
    using another = look.session();
    for await (const piece of another.stream(input, OPTIONS)) {
      if (text === '') device.gpu.destroy();
      text += piece;
    }
    expect(text).toBe(whole);
  });
});

describe('says what is wrong', () => {
  it.each<[string, unknown, string]>([
    ['fewer placeholders', { text: 'Hi', images: [red] }, 'got 0 <image> in the text for 1 pictures'],
    ['more placeholders', { text: '<image> <image>', images: red }, 'got 2 <image> in the text for 1 pictures'],
    ['no text', { images: [red] }, 'want messages, a text, or { text, images }'],
    ['no picture', [{ role: 'user', content: [{ type: 'image' }] }], "want { type: 'text', text } or { type: 'image'"],
    [
      'another part',
      [{ role: 'user', content: [{ type: 'audio', audio: 'x' }] }],
      'content of message 0: got an object',
    ],
    ['no file', [ask('Hi', 'none.png')], '[none.png] no such file'],
    ['a role', [{ role: 'robot', content: 'Hi' }], "role of message 0: got 'robot'"],
    ['nothing', null, 'got null, want messages'],
  ])('%s', async (_, input, message) => {
    await expect(anew(input as ImageTextInput)).rejects.toThrow(message);
  });

  it('in tokens: both counts', async () => {
    const processor = await LlavaProcessor.from_pretrained(golden('llava'));
    const { input_ids, pixel_values } = await processor({ text: '<image>', images: [red] });
    const wrong = [[...input_ids[0]!, look.model.image_token_id]];
    await expect(look.model.generate({ input_ids: wrong, pixel_values })).rejects.toThrow(
      'got 10 image placeholders (token 583) for 1 picture of 9 tokens together',
    );
  });

  it('of parts given to a model of texts', async () => {
    using generate = await pipeline('text-generation', chatFolder());
    await expect(generate([ask('Hi', red)] as never)).rejects.toThrow('got parts, want a text');
  });
});
