// What POST /v1/chat/completions is asked: every field of OpenAI's API, each acted on or refused.
import type {
  ChatCompletionAssistantMessageParam,
  ChatCompletionContentPartImage,
  ChatCompletionContentPartText,
  ChatCompletionCreateParamsBase,
  ChatCompletionMessage,
  ChatCompletionStreamOptions,
} from 'openai/resources/chat/completions';
import { isObject } from '../io/json.ts';
import type { TextOptions } from '../tasks/session.ts';
import {
  checkFields,
  empty,
  flag,
  list,
  never,
  number,
  object,
  oneOf,
  only,
  type Rules,
  text,
  whole,
  wrong,
} from './fields.ts';
import { Refusal } from './refusal.ts';

/** A picture by its address, which nothing was fetched from yet. */
export type Part = { type: 'text'; text: string } | { type: 'image'; url: string; param: string };
export type Asked = {
  model: string;
  messages: { role: string; parts: Part[] }[];
  options: TextOptions;
  stream: boolean;
  includeUsage: boolean;
};

/** Beside OpenAI's: what other servers take, under the names of transformers. */
type More = { top_k?: number; min_p?: number; repetition_penalty?: number };
type Request = ChatCompletionCreateParamsBase & More;

const MOST_STOPS = 4;

const FIELDS: Rules<Required<Request>> = {
  model: text,
  messages: list,
  stream: flag,
  stream_options: object,
  max_completion_tokens: whole(1),
  max_tokens: whole(1),
  temperature: number('a number from 0 to 2', (v) => v >= 0 && v <= 2),
  top_p: number('a number above 0, at most 1', (v) => v > 0 && v <= 1),
  top_k: whole(0),
  min_p: number('a number from 0 to 1', (v) => v >= 0 && v <= 1),
  repetition_penalty: number('a number above 0, at most 1e30', (v) => v >= 1e-30 && v <= 1e30),
  seed: whole(0),
  stop: {
    want: `a text, or a list of at most ${MOST_STOPS}`,
    holds: (v) => [v].flat().length <= MOST_STOPS && [v].flat().every((one) => typeof one === 'string' && one !== ''),
  },
  // labels, which change no answer
  ...{ user: text, metadata: object, safety_identifier: text, prompt_cache_key: text },
  // what would be acted on elsewhere, as long as it asks for nothing
  ...{ audio: never, frequency_penalty: only(0), function_call: only('none'), functions: empty, logit_bias: empty },
  ...{
    logprobs: only(false),
    modalities: { ...never, want: '["text"]', holds: isText },
    moderation: never,
    n: only(1),
  },
  ...{ parallel_tool_calls: flag, prediction: never, presence_penalty: only(0), prompt_cache_options: never },
  ...{ prompt_cache_retention: never, reasoning_effort: only('none'), response_format: object },
  ...{ service_tier: only('auto', 'default'), store: only(false), tool_choice: only('none', 'auto'), tools: empty },
  ...{ top_logprobs: only(0), verbosity: only('medium'), web_search_options: never },
};

const STREAM_OPTIONS: Rules<Required<ChatCompletionStreamOptions>> = {
  include_usage: flag,
  include_obfuscation: only(false),
};

/** Fields of an answer are those of a message too, as clients send back what they got. */
type MessageFields = Record<keyof ChatCompletionAssistantMessageParam | keyof ChatCompletionMessage, unknown>;
const ROLES = ['system', 'developer', 'user', 'assistant'];
const MESSAGE: Rules<MessageFields> = {
  role: oneOf(...ROLES),
  content: { want: 'a text or a list of parts', holds: (v) => typeof v === 'string' || Array.isArray(v) },
  ...{ name: never, refusal: never, annotations: empty, audio: never, function_call: never, tool_calls: empty },
};

const PARTS = {
  text: { type: text, text, prompt_cache_breakpoint: never } satisfies Rules<Required<ChatCompletionContentPartText>>,
  image_url: {
    ...{ type: text, image_url: object, prompt_cache_breakpoint: never },
  } satisfies Rules<Required<ChatCompletionContentPartImage>>,
};
const IMAGE_URL: Rules<Required<ChatCompletionContentPartImage.ImageURL>> = { url: text, detail: only('auto') };

function isText(value: unknown): boolean {
  return Array.isArray(value) && value.join() === 'text';
}

/** The request in a body; `most`: tokens of an answer, for a request that says none or more. Throws a Refusal for anything else. */
export function chatRequest(body: unknown, most: number): Asked {
  const request = checkFields<Request>(body, FIELDS as Rules<Request>, ['model', 'messages']);
  const { model, max_tokens, max_completion_tokens, stream_options, response_format } = request;
  if (max_tokens && max_completion_tokens) {
    throw new Refusal(400, 'max_tokens and max_completion_tokens: got both, want one', { param: 'max_tokens' });
  }
  if (stream_options && !request.stream) throw wrong('stream_options', stream_options, 'none without stream: true');
  const { include_usage } = checkFields<ChatCompletionStreamOptions>(
    ...[stream_options ?? {}, STREAM_OPTIONS, [], 'stream_options'],
  );
  if (response_format && response_format.type !== 'text') {
    throw wrong('response_format.type', response_format.type, '"text"', true);
  }
  const { temperature, top_p, top_k, min_p, seed, repetition_penalty } = request;
  const draws = [temperature, top_p, top_k, min_p, seed].some((v) => v !== undefined);
  const sampling = temperature === 0 ? { do_sample: false } : { temperature, top_p, top_k, min_p };
  return {
    model,
    messages: request.messages.map(messageOf),
    options: {
      ...{ do_sample: draws || undefined, ...sampling, seed, repetition_penalty, stop: request.stop ?? [] },
      max_new_tokens: Math.min(max_completion_tokens ?? max_tokens ?? most, most),
    } as TextOptions,
    stream: request.stream === true,
    includeUsage: include_usage === true,
  };
}

function messageOf(given: unknown, i: number): Asked['messages'][number] {
  const at = `messages[${i}]`;
  const message = checkFields(given, MESSAGE, ['role', 'content'], at);
  const [role, content] = [message.role as string, message.content as string | unknown[]];
  const parts = typeof content === 'string' ? [{ type: 'text', text: content }] : content;
  return {
    role: role === 'developer' ? 'system' : role,
    parts: parts.map((part, k) => partOf(part, role, `${at}.content[${k}]`)),
  };
}

function partOf(given: unknown, role: string, at: string): Part {
  const type = isObject(given) ? given.type : undefined;
  if (type === 'text') {
    const { text } = checkFields<ChatCompletionContentPartText>(given, PARTS.text, ['text'], at);
    return { type, text };
  }
  if (type !== 'image_url') throw wrong(`${at}.type`, type, '"text" or "image_url"', true);
  if (role !== 'user') throw wrong(`${at}.type`, type, '"text" in a message of this role');
  const { image_url } = checkFields<ChatCompletionContentPartImage>(given, PARTS.image_url, ['image_url'], at);
  const param = `${at}.image_url`;
  const { url } = checkFields<ChatCompletionContentPartImage.ImageURL>(image_url, IMAGE_URL, ['url'], param);
  return { type: 'image', url, param: `${param}.url` };
}
