// pipeline('text-generation'): texts that go on, and answers to messages.
import type { Message } from '../io/chat-template.ts';
import { UserError } from '../io/error.ts';
import { lookUp, type ModelSource } from '../io/locate.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import type { Tokenizer } from '../io/tokenizer.ts';
import { checkFunction, checkOptions } from '../tensor/check.ts';
import { AutoModelForCausalLM, AutoTokenizer, CAUSAL_LM, identify } from './auto.ts';
import { type Chat, Session, type TextOptions } from './session.ts';

export type GenerateTextOptions = TextOptions & {
  /** For texts: the prompt and what follows (true), or only that. */
  return_full_text?: boolean;
  /** Gets each piece of text as it comes. */
  on_text?: (piece: string) => void;
};
/** For messages the text is the messages with the answer behind them. */
export type GeneratedText<I> = { generated_text: I extends string ? string : Message[] };

type Model = Awaited<ReturnType<typeof AutoModelForCausalLM.from_pretrained>>;
export type TextGenerator = (<I extends string | readonly Message[]>(
  input: I,
  options?: GenerateTextOptions,
) => Promise<GeneratedText<I>[]>) &
  Disposable & {
    model: Model;
    model_type: string;
    tokenizer: Tokenizer;
    /** A conversation, which keeps what it computed. */
    session(): Session;
    dispose(): void;
  };

/** `const generate = await pipeline('text-generation', folder)`; `await generate('Once upon a time', { max_new_tokens: 32 })`. */
export async function textGeneration(source: ModelSource, options: FromPretrained = {}): Promise<TextGenerator> {
  const from = await lookUp(source, options);
  const tokenizer = await AutoTokenizer.from_pretrained(from, options);
  const { model_type } = await identify(from, options, CAUSAL_LM);
  const model = await AutoModelForCausalLM.from_pretrained(from, options);
  const read = (input: string | readonly Message[]) => {
    if (typeof input === 'string') return { ids: tokenizer.encode(input) };
    const parts = Array.isArray(input) ? input.findIndex((message) => Array.isArray(message?.content)) : -1;
    if (parts >= 0) throw new UserError(`[chat] content of message ${parts}: got parts, want a text`);
    return { ids: tokenizer.encode(tokenizer.apply_chat_template(input), { add_special_tokens: false }) };
  };
  const generate = writer({ model, tokenizer, read }, (input) => (typeof input === 'string' ? input : undefined));
  return Object.assign(generate, { model_type }) as unknown as TextGenerator;
}

/** What writes: called, or in sessions. `textOf`: the text that goes on; none of messages, which are answered. */
export function writer<I, C extends Chat<I>>(chat: C & Chat<I>, textOf: (input: I) => string | undefined) {
  const { model, tokenizer } = chat;
  const session = () => new Session<I>(chat);
  const generate = async (input: I, options: GenerateTextOptions = {}) => {
    checkOptions('generate', options, '{ max_new_tokens: 32 }');
    const { return_full_text = true, on_text, ...rest } = options;
    checkFunction('generate', 'on_text', on_text);
    using own = session();
    for await (const piece of own.stream(input, rest)) on_text?.(piece);
    const { text } = own.last!;
    const before = textOf(input);
    if (before !== undefined) return [{ generated_text: return_full_text ? before + text : text }];
    return [{ generated_text: [...(input as readonly Message[]), { role: 'assistant', content: text }] }];
  };
  const dispose = () => model.dispose();
  return Object.assign(generate, { model, tokenizer, session, dispose, [Symbol.dispose]: dispose });
}
