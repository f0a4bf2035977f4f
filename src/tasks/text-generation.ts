// pipeline('text-generation'): texts that go on, and answers to messages.
import type { Message } from '../io/chat-template.ts';
import { lookUp, type ModelSource } from '../io/locate.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import type { Tokenizer } from '../io/tokenizer.ts';
import { AutoModelForCausalLM, AutoTokenizer, CAUSAL_LM, identify } from './auto.ts';
import { Session, type TextOptions } from './session.ts';

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
  const session = () => new Session({ model, tokenizer });
  const generate = async (input: string | readonly Message[], options: GenerateTextOptions = {}) => {
    const { return_full_text = true, on_text, ...rest } = options;
    using own = session();
    for await (const piece of own.stream(input, rest)) on_text?.(piece);
    const { text } = own.last!;
    if (typeof input === 'string') return [{ generated_text: return_full_text ? input + text : text }];
    return [{ generated_text: [...input, { role: 'assistant', content: text }] }];
  };
  const dispose = () => model.dispose();
  const more = { model, model_type, tokenizer, session, dispose, [Symbol.dispose]: dispose };
  return Object.assign(generate, more) as unknown as TextGenerator;
}
