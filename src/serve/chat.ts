// POST /v1/chat/completions: messages to an answer, whole or as it comes.
import { randomUUID } from 'node:crypto';
import type { ChatCompletion, ChatCompletionChunk } from 'openai/resources/chat/completions';
import type { Answer, Session } from '../tasks/session.ts';
import { chatRequest } from './chat-request.ts';
import { wrong } from './fields.ts';
import type { Exchange } from './server.ts';

/** A task that answers messages. */
export type Chat = { session(): Pick<Session, 'stream' | 'last'> & Disposable };

const REASONS = { eos: 'stop', stop: 'stop', length: 'length', aborted: 'length' } as const;

const usageOf = ({ prompt_ids, ids }: Answer) => ({
  prompt_tokens: prompt_ids.length,
  completion_tokens: ids.length,
  total_tokens: prompt_ids.length + ids.length,
});

export async function chatCompletion({ body, signal, turns, reply, modelOf, maxNewTokens }: Exchange): Promise<void> {
  const asked = chatRequest(body, maxNewTokens);
  const { task } = modelOf('chat', asked.model);
  const messages = asked.messages.map(({ role, parts }) => ({
    role,
    content: parts
      .map((part) => {
        if (part.type === 'image') throw wrong(part.param, part.url, 'texts alone: this model reads no pictures');
        return part.text;
      })
      .join('\n'),
  }));
  using _ = await turns.take(signal);
  using session = task.session();
  const pieces = session.stream(messages, { ...asked.options, signal });
  const head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: asked.model };
  if (!asked.stream) {
    let piece = await pieces.next();
    while (!piece.done) piece = await pieces.next();
    const { text, finish_reason } = piece.value;
    const choice = {
      ...{ index: 0, message: { role: 'assistant' as const, content: text, refusal: null }, logprobs: null },
      finish_reason: REASONS[finish_reason],
    };
    reply.json({
      ...{ ...head, object: 'chat.completion', choices: [choice], usage: usageOf(piece.value) },
    } satisfies ChatCompletion);
    return;
  }
  type Choice = ChatCompletionChunk.Choice;
  const chunk = (delta: Choice['delta'], finish_reason: Choice['finish_reason'] = null): ChatCompletionChunk => ({
    ...{ ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, logprobs: null, finish_reason }] },
    ...(asked.includeUsage && { usage: null }),
  });
  let piece = await pieces.next(); // what is wrong comes out here, while there is a status to tell it by
  reply.event(chunk({ role: 'assistant', content: '', refusal: null }));
  for (; !piece.done; piece = await pieces.next()) reply.event(chunk({ content: piece.value }));
  reply.event(chunk({}, REASONS[piece.value.finish_reason]));
  if (asked.includeUsage) reply.event({ ...chunk({}), choices: [], usage: usageOf(piece.value) });
  reply.event('[DONE]');
  reply.end();
}
