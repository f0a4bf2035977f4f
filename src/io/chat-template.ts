// Messages as the text that a model was trained to answer, by the Jinja template of its checkpoint.
import { Template } from '@huggingface/jinja';
import { checkOptions, describe } from '../tensor/check.ts';
import { UserError } from './error.ts';
import { isObject } from './json.ts';

/** `content`: a text; of models that see pictures also a list of parts. */
export type Message<C = string> = { role: string; content: C };
/** What a template is given: parts that say what they are; it writes a placeholder for each picture. */
export type Part = { type: string; text?: string };
export type ChatOptions = {
  /** End where the answer begins (true). */
  add_generation_prompt?: boolean;
  /** One of several templates of a checkpoint, by name; or a template. */
  chat_template?: string;
  tools?: unknown[];
};

const ROLES = ['system', 'user', 'assistant', 'tool'];

function check(messages: readonly Message<unknown>[]): void {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new UserError(`[chat] messages: got ${describe(messages)}, want [{ role: 'user', content: '...' }]`);
  }
  for (const [i, message] of messages.entries()) {
    const { role, content } = isObject(message) ? message : ({} as Record<string, unknown>);
    if (!ROLES.includes(role as string)) {
      throw new UserError(`[chat] role of message ${i}: got ${describe(role)}, want one of ${ROLES.join(', ')}`);
    }
    const isParts = Array.isArray(content) && content.every((part) => isObject(part) && typeof part.type === 'string');
    if (typeof content !== 'string' && !isParts)
      throw new UserError(`[chat] content of message ${i}: got ${describe(content)}, want a text`);
  }
}

/** The template that is meant: the config has one, or a list of named ones. */
function choose(config: Record<string, unknown>, name?: string): string {
  const known = config.chat_template;
  const list = Array.isArray(known) ? known.filter(isObject) : [];
  const found = list.find((t) => t.name === (name ?? 'default'))?.template ?? (list.length > 0 ? undefined : known);
  if (typeof name === 'string' && list.every((t) => t.name !== name)) return name;
  if (typeof found === 'string') return found;
  const names = list.map((t) => t.name).join(', ');
  throw new UserError(
    list.length > 0
      ? `[chat] chat_template: got no name, want one of ${names}`
      : '[chat] this model has no chat template: give chat_template, or a text as it is (--raw)',
  );
}

/** The text of messages, by tokenizer_config.json. Throws a UserError where they do not fit the template. */
export function renderChat(
  config: Record<string, unknown>,
  messages: readonly Message<string | readonly Part[]>[],
  options: ChatOptions = {},
): string {
  checkOptions('chat', options, '{ add_generation_prompt: true }');
  const { add_generation_prompt = true, chat_template, tools } = options;
  check(messages);
  const special = Object.entries(config).flatMap(([name, token]) => {
    const content = isObject(token) ? token.content : token;
    return name.endsWith('_token') && typeof content === 'string' ? [[name, content]] : [];
  });
  const text = choose(config, chat_template);
  try {
    return new Template(text).render({
      ...Object.fromEntries(special),
      messages,
      add_generation_prompt,
      ...(tools && { tools }),
    });
  } catch (error) {
    throw new UserError(`[chat] the template of the model refuses these messages: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
