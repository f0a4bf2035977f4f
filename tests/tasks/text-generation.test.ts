// Texts that go on and conversations, on a tiny random model that talks nonsense, the same at any time.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Device,
  defaultDevice,
  type Message,
  pipeline,
  type Session,
  type TextGenerator,
  type TextOptions,
  trim,
} from '../../src/index.ts';
import { collect } from '../collect.ts';
import { chatFolder } from './support.ts';

let generate: TextGenerator;
beforeAll(async () => {
  generate = await pipeline('text-generation', chatFolder());
});
afterAll(() => generate.dispose());

const LOSSES = process.env.MODE === 'full' ? 30 : 3;
const ROUNDS = process.env.MODE === 'full' ? 500 : 14;
const OPTIONS: TextOptions = { max_new_tokens: 12, eos_token_id: [] };
const user = (content: string): Message => ({ role: 'user', content });
const assistant = (content: string): Message => ({ role: 'assistant', content });

async function say(session: Session, input: string | readonly Message[], options: TextOptions = {}): Promise<string> {
  let text = '';
  for await (const piece of session.stream(input, { ...OPTIONS, ...options })) text += piece;
  return text;
}
/** What a session without a past says. */
async function anew(input: string | readonly Message[], options: TextOptions = {}): Promise<string> {
  using session = generate.session();
  return await say(session, input, options); // before it is disposed of
}

describe('pipeline', () => {
  it('goes on from a text, and answers messages', async () => {
    const text = await anew('hello');
    expect(text.length).toBeGreaterThan(4);
    expect(await generate('hello', OPTIONS)).toEqual([{ generated_text: `hello${text}` }]);
    const pieces: string[] = [];
    const more = { return_full_text: false, on_text: (piece: string) => pieces.push(piece) };
    expect(await generate('hello', { ...OPTIONS, ...more })).toEqual([{ generated_text: text }]);
    expect(pieces.join('')).toBe(text);
    const answer = await anew([user('hello')]);
    expect(await generate([user('hello')], OPTIONS)).toEqual([{ generated_text: [user('hello'), assistant(answer)] }]);
  });
  it('wants a model', async () => {
    await expect(pipeline('text-generation')).rejects.toThrow('got no model, want a folder or an id of the hub');
    await expect(pipeline('text-generation', 'tests/goldens/cases/clip')).rejects.toThrow(/clip|tokenizer/);
  });
});

describe('a session', () => {
  it('says what a new one would, and computes only what is new', async () => {
    using session = generate.session();
    const first = await say(session, [user('hello')]);
    expect(session.last).toMatchObject({
      text: first,
      finish_reason: 'length',
      stats: { reused_tokens: 0, new_tokens: 12 },
    });
    const talk = [user('hello'), assistant(first), user('and?')];
    const second = await say(session, talk);
    expect(session.last!.stats.reused_tokens).toBeGreaterThan(session.last!.prompt_ids.length / 2);
    expect(second).toBe(await anew(talk));
    expect(await say(session, [user('hello')])).toBe(first); // again
    expect(session.last!.stats.reused_tokens).toBe(session.last!.prompt_ids.length - 1);
  });

  it('ends before a stop string, wherever it lies', async () => {
    const whole = await anew('hello');
    for (const [from, to] of [
      [3, 4],
      [4, 7],
      [0, 2],
    ] as const) {
      const stop = whole.slice(from, to);
      using session = generate.session();
      expect(await say(session, 'hello', { stop })).toBe(whole.slice(0, whole.indexOf(stop)));
      expect(session.last!.finish_reason).toBe('stop');
      expect(session.tokens.length).toBeLessThanOrEqual(5 + session.last!.ids.length);
      expect(await say(session, 'hello', { stop: ['no such text'] })).toBe(whole);
    }
  });

  it('ends at an eos and does not say it', async () => {
    const ids = generate.tokenizer.encode(await anew('hello'));
    const eos = ids[5]!;
    using session = generate.session();
    const text = await say(session, 'hello', { eos_token_id: eos });
    expect(session.last!.finish_reason).toBe('eos');
    expect(session.last!.ids.at(-1)).toBe(eos);
    expect(text).toBe(generate.tokenizer.decode(session.last!.ids.slice(0, -1)));
  });

  it('goes on after an abort, and after a loop that was left', async () => {
    const whole = await anew('hello');
    using session = generate.session();
    const controller = new AbortController();
    const work = (async () => {
      for await (const _ of session.stream('hello', { ...OPTIONS, signal: controller.signal })) controller.abort();
    })();
    await expect(work).rejects.toThrow(/abort/);
    expect(session.last).toMatchObject({ finish_reason: 'aborted' });
    for await (const _ of session.stream('hello', OPTIONS)) break;
    expect(session.last).toMatchObject({ finish_reason: 'aborted' });
    expect(await say(session, 'hello')).toBe(whole);
  });

  it('waits for its turn, and others beside it are not in its way', async () => {
    const want = await Promise.all(['hello', 'other', 'third'].map((text) => anew(text)));
    using one = generate.session();
    using two = generate.session();
    expect(await Promise.all([say(one, 'hello'), say(two, 'other'), say(one, 'third')])).toEqual(want);
  });

  it('is put away and taken up again', async () => {
    using session = generate.session();
    const first = await say(session, [user('hello')]);
    const talk = [user('hello'), assistant(first), user('and?')];
    const file = await session.save({ who: 'me' });
    using later = generate.session();
    expect(await later.load(Buffer.from(file))).toMatchObject({ who: 'me' });
    expect(later.tokens).toEqual(session.tokens);
    expect(await say(later, talk)).toBe(await say(session, talk));
    expect(later.last!.stats.reused_tokens).toBeGreaterThan(10);
    using empty = generate.session();
    await later.load(await empty.save());
    expect(later.tokens).toEqual([]);
    const other = await pipeline('text-generation', chatFolder('llama-gqa'));
    using wrong = other.session();
    await expect(wrong.load(file)).rejects.toThrow('not a session of this model');
    await expect(wrong.load(new Uint8Array(3))).rejects.toThrow();
    other.dispose();
  });

  it('refuses an answer in the loop of another, which would wait for itself', async () => {
    const whole = await anew('hello');
    using session = generate.session();
    let text = '';
    for await (const piece of session.stream('hello', OPTIONS)) {
      text += piece;
      await expect(say(session, 'other')).rejects.toThrow('[session] stream: got it while another call is at work');
    }
    expect(text).toBe(whole);
    expect(await say(session, 'hello')).toBe(whole);
    for await (const _ of session.stream('hello', OPTIONS)) break;
    expect(await say(session, 'hello')).toBe(whole);
  });

  it('refuses to be put away, taken up or begun anew while an answer is under way', async () => {
    const whole = await anew('hello');
    using session = generate.session();
    const file = await session.save();
    let text = '';
    for await (const piece of session.stream('hello', OPTIONS)) {
      text += piece;
      const busy = 'got it while another call is at work, want it behind the end of that';
      await expect(session.save()).rejects.toThrow(`[session] save: ${busy}`);
      await expect(session.load(file)).rejects.toThrow(`[session] load: ${busy}`);
      expect(() => session.reset()).toThrow(`[session] reset: ${busy}`);
    }
    expect(text).toBe(whole);
    const saving = session.save();
    expect(await say(session, 'hello')).toBe(whole); // behind it
    using later = generate.session();
    const loading = later.load(await saving);
    expect(await say(later, 'hello')).toBe(whole);
    await loading;
    expect(later.last!.stats.reused_tokens).toBe(4);
    session.reset();
    expect([session.tokens, session.nbytes, session.last]).toEqual([[], 0, undefined]);
    expect(await say(session, 'hello')).toBe(whole);
    const broken = Buffer.from(await session.save());
    broken.write('x', broken.indexOf('"spans":"[]"') + '"spans":"'.length);
    await expect(session.load(broken)).rejects.toThrow('not a session of this model');
    expect(session.tokens.length).toBeGreaterThan(5); // as it was
  });

  it('ends an answer that is under way when it is disposed of, and gives back what it held', async () => {
    const device = await defaultDevice();
    const live = async () => {
      await trim(device);
      return device.pool.stats.live;
    };
    await anew('hello');
    const before = await live();
    const session = generate.session();
    const waiting = (async () => {
      await Promise.resolve();
      return say(session, 'other');
    })();
    const work = (async () => {
      for await (const _ of session.stream('hello', OPTIONS)) session.dispose();
    })();
    for (const answer of [work, waiting]) await expect(answer).rejects.toThrow('[session] it was disposed of');
    expect(session.tokens).toEqual([]);
    expect(await live()).toBe(before);
    session.dispose();
    await expect(say(session, 'hello')).rejects.toThrow('[session] it was disposed of');
    await expect(session.save()).rejects.toThrow('[session] it was disposed of');
    expect(() => session.reset()).toThrow('[session] it was disposed of');
  });

  it('says by how much a prompt is too long, and drops its beginning where that is asked for', async () => {
    const long = 'x'.repeat(130); // the context is 128
    await expect(anew(long)).rejects.toThrow('the prompt has 130 tokens, 3 more than fit with an answer');
    expect(await anew(long, { truncation: true })).toBe(await anew('x'.repeat(116)));
    using session = generate.session();
    await say(session, 'y'.repeat(120)); // to the end of the context
    expect(session.last).toMatchObject({ finish_reason: 'length', stats: { new_tokens: 8 } });
  });

  it.each<[unknown, string]>([
    [[{ role: 'robot', content: 'hi' }], "role of message 0: got 'robot', want one of system, user, assistant, tool"],
    [[user('hi'), { role: 'user' }], 'content of message 1: got nothing, want a text'],
    [[], 'messages: got an array []'],
    [[{ role: 'tool', content: 'hi' }], 'the template of the model refuses these messages: no tools here'],
    ['', 'the prompt is empty'],
  ])('refuses %j', async (input, message) => {
    await expect(anew(input as string)).rejects.toThrow(message);
  });

  it('wants a chat template for messages', async () => {
    using plain = await pipeline('text-generation', chatFolder('llama', {}));
    await expect(plain([user('hi')])).rejects.toThrow('this model has no chat template');
    const named = {
      chat_template: [
        { name: 'default', template: 'A' },
        { name: 'tool_use', template: 'B' },
      ],
    };
    using several = await pipeline('text-generation', chatFolder('llama', named));
    expect(several.tokenizer.apply_chat_template([user('hi')])).toBe('A');
    expect(several.tokenizer.apply_chat_template([user('hi')], { chat_template: 'tool_use' })).toBe('B');
    expect(several.tokenizer.apply_chat_template([user('hi')], { chat_template: '{{ messages[0].content }}' })).toBe(
      'hi',
    );
  });

  it(`of ${ROUNDS} rounds of answers, aborts and answers anew has no buffer more than after the tenth`, {
    timeout: 900_000,
  }, async () => {
    const device = await defaultDevice();
    using session = generate.session();
    let after10 = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const question = [user(`hello ${round % 7}`)];
      const sampled = { do_sample: true, top_k: 9, repetition_penalty: 1.2, seed: round };
      const first = await say(session, question, sampled);
      const controller = new AbortController();
      const signal = controller.signal;
      const cut = (async () => {
        for await (const _ of session.stream([...question, assistant(first), user('and?')], { ...OPTIONS, signal }))
          controller.abort();
      })();
      await expect(cut).rejects.toThrow(/abort/);
      expect(await say(session, question, sampled)).toBe(first);
      if (round !== 9 && round !== ROUNDS - 1) continue;
      await trim(device); // plans, which keep buffers too
      after10 ||= device.pool.stats.live;
    }
    expect(device.pool.stats.live).toBeLessThanOrEqual(after10);
  });

  it(`goes on after the device was lost in the middle of an answer, ${LOSSES} times, and keeps nothing of the lost ones`, {
    timeout: 900_000,
  }, async () => {
    const whole = await anew('hello');
    const lost: WeakRef<Device>[] = [];
    const live: number[] = [];
    const round = async () => {
      using session = generate.session();
      const device = await defaultDevice();
      lost.push(new WeakRef(device));
      let text = '';
      for await (const piece of session.stream('hello', OPTIONS)) {
        text += piece;
        if (text.length === 4) device.gpu.destroy();
      }
      expect(text).toBe(whole);
      expect(await say(session, 'hello')).toBe(whole);
    };
    for (let i = 0; i < LOSSES; i++) {
      await round();
      const device = await defaultDevice();
      await trim(device);
      live.push(device.pool.stats.live);
    }
    expect(new Set(live).size).toBe(1);
    const kept = () => lost.filter((device) => device.deref()).length;
    for (let i = 0; i < 100 && kept() > 1; i++) await collect();
    expect(kept()).toBeLessThanOrEqual(1); // the last may still be on somebody's stack
  });
});
