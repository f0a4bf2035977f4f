// POST /v1/chat/completions: messages to an answer, whole or as it comes.
import { randomUUID } from 'node:crypto';
import type { ChatCompletion, ChatCompletionChunk } from 'openai/resources/chat/completions';
import type { MessagePart } from '../tasks/image-text-to-text.ts';
import type { Answer, Session, TextOptions } from '../tasks/session.ts';
import { type Asked, chatRequest } from './chat-request.ts';
import { wrong } from './fields.ts';
import type { Exchange } from './http.ts';
import { pictureOpener } from './pictures.ts';
import { Refusal } from './refusal.ts';

const REASONS = { eos: 'stop', stop: 'stop', length: 'length', aborted: 'length' } as const;

const usageOf = ({ prompt_ids, ids }: Answer) => ({
  prompt_tokens: prompt_ids.length,
  completion_tokens: ids.length,
  total_tokens: prompt_ids.length + ids.length,
});

const LONGEST = 64; // letters of a token, hardly ever more

/** Throws a Refusal where no context holds so much text: to make tokens of 30 MB would keep everybody waiting. */
function checkLength({ messages }: Asked, context: number): void {
  const parts = messages.flatMap(({ parts }) => parts);
  const length = parts.reduce((sum, part) => sum + (part.type === 'text' ? part.text.length : 0), 0);
  if (length <= context * LONGEST) return;
  const message = `messages: got ${length} letters, which are more than fit in the model's context of ${context} tokens`;
  throw new Refusal(400, message, { param: 'messages', code: 'context_length_exceeded' });
}

/** Parts of text are lines of one text. */
const textsOf = ({ messages }: Asked) =>
  messages.map(({ role, parts }) => {
    const texts = parts.map((part) => {
      if (part.type === 'image') throw wrong(part.param, part.url, 'texts alone: this model sees no pictures');
      return part.text;
    });
    return { role, content: texts.join('\n') };
  });

/** Pictures in the place of their addresses. */
async function picturesOf({ messages }: Asked, open: ReturnType<typeof pictureOpener>) {
  const seen: { role: string; content: MessagePart[] }[] = [];
  for (const { role, parts } of messages) {
    const content: MessagePart[] = [];
    for (const part of parts) {
      content.push(part.type === 'text' ? part : { type: 'image', image: await open(part.url, part.param) });
    }
    seen.push({ role, content });
  }
  return seen;
}

/** By a session of its own, which is made when the first piece is asked for. */
async function* answer<I>(task: { session(): Session<I> }, messages: I, options: TextOptions) {
  using session = task.session();
  return yield* session.stream(messages, options);
}

export async function chatCompletion({ body, signal, turns, reply, modelOf, rules }: Exchange): Promise<void> {
  const asked = chatRequest(body, rules.maxNewTokens);
  const { task } = modelOf('chat', asked.model);
  checkLength(asked, task.model.sizes.max_position_embeddings);
  const options = { ...asked.options, signal };
  const pieces =
    'processor' in task
      ? answer(task, await picturesOf(asked, pictureOpener(rules, signal)), options)
      : answer(task, textsOf(asked), options);
  using _ = await turns.take(signal);
  try {
    await (asked.stream ? sendPieces : sendWhole)(pieces, asked, reply);
  } finally {
    await pieces.return(undefined as never); // its cache goes, wherever it was left
  }
}

type Pieces = AsyncGenerator<string, Answer>;
const headOf = ({ model }: Asked) => {
  const created = Math.floor(Date.now() / 1000);
  return { id: `chatcmpl-${randomUUID()}`, created, model };
};

async function sendWhole(pieces: Pieces, asked: Asked, reply: Exchange['reply']): Promise<void> {
  let piece = await pieces.next();
  while (!piece.done) piece = await pieces.next();
  const { text, finish_reason } = piece.value;
  const choice = {
    ...{ index: 0, message: { role: 'assistant' as const, content: text, refusal: null }, logprobs: null },
    finish_reason: REASONS[finish_reason],
  };
  reply.json({
    ...{ ...headOf(asked), object: 'chat.completion', choices: [choice], usage: usageOf(piece.value) },
  } satisfies ChatCompletion);
}

async function sendPieces(pieces: Pieces, asked: Asked, reply: Exchange['reply']): Promise<void> {
  const head = headOf(asked);
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
