// The server as programs use it, asked by the official client of OpenAI's API.
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Message, type TextGenerator, UserError } from '../../src/index.ts';
import { chatCompletion } from '../../src/serve/chat.ts';
import type { Exchange, Reply } from '../../src/serve/http.ts';
import { Turns } from '../../src/serve/turns.ts';
import { live, openText, raw, refusal, type Served, until } from './support.ts';

const isFull = process.env.MODE === 'full';
const REQUESTS = isFull ? 1000 : 24;

let s: Served<TextGenerator>;
beforeAll(async () => {
  s = await openText({ parallel: 2, queue: 2 });
});
afterAll(() => s[Symbol.asyncDispose]());

type Params = OpenAI.ChatCompletionCreateParamsNonStreaming;
const hello: Message[] = [{ role: 'user', content: 'hello' }];
const ask = { model: 'tiny/model', messages: hello as Params['messages'], max_tokens: 8 } satisfies Params;
const say = async (more: Record<string, unknown> = {}, options: OpenAI.RequestOptions = {}) => {
  const { choices } = await s.client.chat.completions.create({ ...ask, ...more } as Params, options);
  return choices[0]!.message.content;
};

describe('chat', () => {
  it('answers as the pipeline does, with usage', async () => {
    const [{ generated_text: messages } = { generated_text: [] }] = await s.task(hello, { max_new_tokens: 8 });
    const answer = await s.client.chat.completions.create(ask);
    expect(answer).toMatchObject({ object: 'chat.completion', model: 'tiny/model' });
    expect(answer.choices).toEqual([
      {
        ...{ index: 0, logprobs: null, finish_reason: 'length' },
        message: { role: 'assistant', content: messages.at(-1)!.content, refusal: null },
      },
    ]);
    const prompt_tokens = '[user]hello'.length + 1 + '[assistant]'.length;
    expect(answer.usage).toEqual({ prompt_tokens, completion_tokens: 8, total_tokens: prompt_tokens + 8 });
  });

  it('streams the same, and usage where it is asked for', async () => {
    const whole = await s.client.chat.completions.create(ask);
    const stream = await s.client.chat.completions.create({
      ...{ ...ask, stream: true, stream_options: { include_usage: true } },
    });
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe(
      whole.choices[0]!.message.content,
    );
    expect(chunks.length).toBeGreaterThan(5);
    expect(chunks[0]!.choices[0]!.delta.role).toBe('assistant');
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe('length');
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage });
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    const runner = s.client.chat.completions.stream(ask); // puts the pieces together by itself
    expect((await runner.finalChatCompletion()).choices[0]!.message.content).toBe(whole.choices[0]!.message.content);
  });

  it('draws by seed and temperature, and takes the likeliest at temperature 0', async () => {
    const drawn = await say({ seed: 7, temperature: 1.5 });
    expect(await say({ seed: 7, temperature: 1.5 })).toBe(drawn);
    const others = await Promise.all([8, 9].map((seed) => say({ seed, temperature: 1.5 })));
    expect(new Set([drawn, ...others]).size).toBeGreaterThan(1);
    const greedy = await say();
    expect(await say({ temperature: 0, seed: 7, top_p: 0.5 })).toBe(greedy);
    expect(await say({ seed: 7, temperature: 1.5, top_k: 1 })).toBe(greedy);
  });

  it('ends before a stop text', async () => {
    const whole = (await say())!;
    const stop = whole.slice(3, 5);
    for (const one of [stop, ['no such text', stop]]) {
      const { choices } = await s.client.chat.completions.create({ ...ask, stop: one });
      expect(choices[0]).toMatchObject({
        ...{ finish_reason: 'stop', message: { content: whole.slice(0, whole.indexOf(stop)) } },
      });
    }
  });

  it('takes a conversation as clients send it back, parts of text, and the other name of system', async () => {
    const { choices } = await s.client.chat.completions.create(ask);
    const talk = [...ask.messages, choices[0]!.message, { role: 'user', content: 'and?' }];
    const plain = [
      ...hello,
      { role: 'assistant', content: choices[0]!.message.content! },
      { role: 'user', content: 'and?' },
    ];
    const [want] = await s.task(plain, { max_new_tokens: 8 });
    expect(await say({ messages: talk })).toBe(want!.generated_text.at(-1)!.content);
    const part = (text: string) => ({ type: 'text', text });
    const messages = [
      { role: 'developer', content: 'short' },
      { role: 'user', content: [part('one'), part('two')] },
    ];
    const same = [
      { role: 'system', content: 'short' },
      { role: 'user', content: 'one\ntwo' },
    ];
    expect(await say({ messages })).toBe(await say({ messages: same }));
  });

  it('writes to the end of the context where no end is asked for', async () => {
    const { choices, usage } = await s.client.chat.completions.create({
      ...{ model: ask.model, messages: ask.messages, temperature: 0, logit_bias: {} },
    });
    const { finish_reason } = choices[0]!;
    if (finish_reason === 'length') expect(usage!.total_tokens).toBe(s.task.model.sizes.max_position_embeddings);
    else expect(finish_reason).toBe('stop');
  });

  const neutral = {
    ...{ n: 1, logprobs: false, tools: [], tool_choice: 'auto', logit_bias: {}, response_format: { type: 'text' } },
    ...{ frequency_penalty: 0, presence_penalty: 0, store: false, user: 'me', metadata: { a: 'b' }, stop: null },
    ...{ parallel_tool_calls: true, service_tier: 'auto', modalities: ['text'], stream_options: null, seed: null },
  };
  it('takes fields that ask for nothing', async () => expect(await say(neutral)).toBe(await say()));

  const image = (url: string) => [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }];
  const tool = { type: 'function', function: { name: 'f', parameters: {} } };
  it.each<[Record<string, unknown>, string, string]>([
    [{ tools: [tool] }, 'tools', 'unsupported_parameter'],
    [{ n: 2 }, 'n', 'unsupported_parameter'],
    [{ logprobs: true }, 'logprobs', 'unsupported_parameter'],
    [{ top_logprobs: 3 }, 'top_logprobs', 'unsupported_parameter'],
    [{ logit_bias: { 5: 1 } }, 'logit_bias', 'unsupported_parameter'],
    [{ presence_penalty: 0.5 }, 'presence_penalty', 'unsupported_parameter'],
    [{ response_format: { type: 'json_object' } }, 'response_format.type', 'unsupported_parameter'],
    [{ modalities: ['text', 'audio'] }, 'modalities', 'unsupported_parameter'],
    [{ messages: [{ role: 'tool', content: 'x', tool_call_id: '1' }] }, 'messages[0].role', 'invalid_value'],
    [{ messages: [{ ...hello[0], name: 'me' }] }, 'messages[0].name', 'unsupported_parameter'],
    [
      { messages: [{ role: 'user', content: [{ type: 'file' }] }] },
      'messages[0].content[0].type',
      'unsupported_parameter',
    ],
    [{ messages: image('data:image/png;base64,AAAA') }, 'messages[0].content[0].image_url.url', 'invalid_value'],
    [{ messages: [{ role: 'user' }] }, 'messages[0].content', 'invalid_value'],
    [{ messages: [] }, 'messages', 'invalid_value'],
    [{ messages: 'hello' }, 'messages', 'invalid_value'],
    [{ max_tokens: 0 }, 'max_tokens', 'invalid_value'],
    [{ max_tokens: '8' }, 'max_tokens', 'invalid_value'],
    [{ temperature: 3 }, 'temperature', 'invalid_value'],
    [{ top_p: 0 }, 'top_p', 'invalid_value'],
    [{ seed: -1 }, 'seed', 'invalid_value'],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop', 'invalid_value'],
    [{ stream_options: { include_usage: true } }, 'stream_options', 'invalid_value'],
    [{ model: 5 }, 'model', 'invalid_value'],
  ])('refuses %j', async (more, param, code) => {
    const error = await refusal(say(more));
    expect(error).toMatchObject({ status: 400, type: 'invalid_request_error', param, code });
    expect(error.message).toContain(`${param}: got `);
  });
  it('refuses what is in no list, two limits, and more than a context holds', async () => {
    expect(await refusal(say({ nonsense: 1 }))).toMatchObject({ status: 400, code: 'unknown_parameter' });
    expect(await refusal(say({ max_completion_tokens: 8 }))).toMatchObject({ status: 400, param: 'max_tokens' });
    const long = [{ role: 'user', content: 'x'.repeat(200) }];
    const error = await refusal(say({ messages: long, stream: true }));
    expect(error).toMatchObject({
      status: 400,
      message: expect.stringContaining("more than fit with an answer in the model's context"),
    });
    const longer = [{ role: 'user', content: 'x'.repeat(2 ** 20) }];
    const code = 'context_length_exceeded'; // before there are tokens of it
    expect(await refusal(say({ messages: longer }))).toMatchObject({ status: 400, code, param: 'messages' });
    expect(await refusal(say({ model: 'gpt-5' }))).toMatchObject({ status: 404, code: 'model_not_found' });
  });
});

describe('embeddings', () => {
  const texts = ['a cat', 'a red car'];
  it('are those of the text tower, of length 1', async () => {
    const { shape, data } = await s.embed(texts, { normalize: true });
    const want = texts.map((_, i) => Array.from(data.subarray(i * shape[1], (i + 1) * shape[1])));
    for (const encoding_format of [undefined, 'float', 'base64'] as const) {
      const made = await s.client.embeddings.create({ model: 'tiny-clip', input: texts, encoding_format });
      if (encoding_format !== 'base64') expect(made.data.map(({ embedding }) => embedding)).toEqual(want);
      expect(made.data.map(({ index }) => index)).toEqual([0, 1]);
      expect(made.usage).toEqual({ prompt_tokens: 4 + 2 + 7 + 2, total_tokens: 4 + 2 + 7 + 2 });
    }
    const [one] = (await s.client.embeddings.create({ model: 'tiny-clip', input: texts[0]! })).data;
    expect(one!.embedding).toEqual(want[0]);
  });
  it.each<[Record<string, unknown>, string]>([
    [{ input: [1, 2] }, 'input'],
    [{ input: [] }, 'input'],
    [{ input: '' }, 'input'],
    [{ input: ['a', 'b'.repeat(200)] }, 'input[1]'],
    [{ dimensions: 8 }, 'dimensions'],
    [{ encoding_format: 'int8' }, 'encoding_format'],
  ])('refuse %j', async (more, param) => {
    const error = await refusal(s.client.embeddings.create({ model: 'tiny-clip', input: 'a', ...more } as never));
    expect(error).toMatchObject({ status: 400, param });
  });
  it('are refused of a language model, and a language model where only embeddings are served', async () => {
    const wrong = s.client.embeddings.create({ model: 'tiny/model', input: 'a' });
    expect(await refusal(wrong)).toMatchObject({ status: 404, code: 'model_not_found', param: 'model' });
    expect(await refusal(say({ model: 'tiny-clip' }))).toMatchObject({ status: 404, code: 'model_not_found' });
  });
});

describe('models', () => {
  it('are listed, and found by name', async () => {
    const { data } = await s.client.models.list();
    expect(data.map(({ id }) => id)).toEqual(['tiny/model', 'tiny-clip']);
    expect(await s.client.models.retrieve('tiny/model')).toEqual(data[0]);
    expect(await refusal(s.client.models.retrieve('other'))).toMatchObject({ status: 404, code: 'model_not_found' });
  });
});

describe('many requests', () => {
  const stream = (signal?: AbortSignal) => s.client.chat.completions.create({ ...ask, stream: true }, { signal });

  it('are answered at once, as they would be alone', async () => {
    const alone = await say();
    const order: number[] = [];
    const read = async (who: number) => {
      let text = '';
      for await (const { choices } of await stream()) {
        text += choices[0]!.delta.content ?? '';
        order.push(who);
      }
      return text;
    };
    expect(await Promise.all([read(0), read(1)])).toEqual([alone, alone]);
    expect(order.lastIndexOf(0) > order.indexOf(1) && order.lastIndexOf(1) > order.indexOf(0)).toBe(true);
  });

  it('wait in a line that has an end', async () => {
    const all = await Promise.allSettled(Array.from({ length: 6 }, () => say({ max_tokens: 24 })));
    const refused = all.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    expect(all.filter(({ status }) => status === 'fulfilled').length).toBe(4);
    expect(refused.length).toBe(2);
    for (const error of refused) {
      expect(error).toBeInstanceOf(OpenAI.RateLimitError);
      expect(error).toMatchObject({ status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' });
    }
  });

  it('give back their caches when their clients go away', async () => {
    await say();
    const before = await live();
    const long = { ...ask, max_tokens: 100 };
    let held = 0;
    for await (const _ of await s.client.chat.completions.create({ ...long, stream: true })) {
      held = await live();
      break;
    }
    expect(held).toBeGreaterThan(before);
    const control = new AbortController();
    const leave = async () => {
      const events = await s.client.chat.completions.create({ ...long, stream: true }, { signal: control.signal });
      for await (const _ of events) control.abort();
    };
    const whole = () => s.client.chat.completions.create(long, { signal: control.signal });
    const going = [leave(), whole(), whole(), whole()]; // two are computed, two wait
    const ended = await Promise.allSettled(going);
    expect(ended.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(1);
    await until(async () => (await live()) === before);
    expect(await Promise.all([say(), say(), say(), say()])).toHaveLength(4); // no turn was lost
    await until(async () => (await live()) === before);
  });

  it('give back their caches where an answer cannot be written', async () => {
    await say();
    const before = await live();
    let events = 0;
    const event = () => {
      if (++events === 3) throw new Error('no way out');
    };
    const exchange: Exchange = {
      body: { ...ask, stream: true },
      ...{ signal: new AbortController().signal, turns: new Turns(1, 1), reply: { event } as unknown as Reply },
      rules: { origins: [], maxBody: 1e6, patience: 1000, allowUrls: false, maxNewTokens: 100 },
      modelOf: () => ({ id: 'tiny/model', task: s.task }) as never,
    };
    await expect(chatCompletion(exchange)).rejects.toThrow('no way out');
    expect(await live()).toBe(before);
  });

  it('leave no buffer', { timeout: isFull ? 1_200_000 : 60_000 }, async () => {
    const first = await say();
    const before = await live();
    for (let i = 0; i < REQUESTS; i += 4) {
      const bad = refusal(say({ messages: [{ role: 'user', content: 'x'.repeat(200) }] }));
      const [one, row] = await Promise.all([
        say(),
        s.client.embeddings.create({ model: 'tiny-clip', input: `text ${i}` }),
        bad,
        s.client.models.list(),
      ]);
      expect([one, row.data.length]).toEqual([first, 1]);
    }
    await until(async () => (await live()) === before);
  });
});

describe('the end', () => {
  it('ends answers under way and in line, and takes no more', async () => {
    await using other = await openText({ parallel: 1 });
    const long = { ...ask, max_tokens: 100 };
    const read = async () => {
      for await (const _ of await other.client.chat.completions.create({ ...long, stream: true })) {
        other.server.close(true);
      }
    };
    const going = [read(), other.client.chat.completions.create(long)];
    for (const error of await Promise.all(going.map(refusal))) {
      expect(error).toMatchObject({ code: 'server_stopping', type: 'server_error' });
    }
    await other.server.closed;
    await expect(other.client.models.list()).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
  });
  it('comes after the answers under way', async () => {
    await using other = await openText({ parallel: 1 });
    let text = '';
    let closing: Promise<void> | undefined;
    for await (const { choices } of await other.client.chat.completions.create({ ...ask, stream: true })) {
      text += choices[0]!.delta.content ?? '';
      closing ??= other.server.close();
    }
    expect(text).toBe(await say());
    await closing;
  });
  it('does not wait for clients that do not read', async () => {
    await using other = await openText();
    const body = JSON.stringify(ask);
    const host = new URL(other.server.url).host;
    const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\n`;
    const open = raw(other.server.url, `${head}content-length: ${body.length + 1}\r\n\r\n${body}`); // never its last byte
    await say();
    await other.server.close(true);
    expect(await open).toMatch(/^HTTP\/1.1 503 /);
  });
  it('of a server that could not begin is told', async () => {
    const port = Number(new URL(s.server.url).port);
    await expect(openText({ port })).rejects.toThrow(UserError);
    await expect(openText({ port })).rejects.toThrow(`[serve] port ${port} is taken`);
  });
});
