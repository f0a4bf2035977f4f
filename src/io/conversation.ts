// Conversations as the original LLaVA writes them. Reference: llava/conversation.py of https://github.com/haotian-liu/LLaVA.
import { describe } from '../tensor/check.ts';
import { UserError } from './error.ts';
import type { Tokenizer } from './tokenizer.ts';

type Style = 'single' | 'two' | 'mpt' | 'llama_2' | 'plain';
export type Conversation = {
  version: string;
  system: string;
  roles: readonly [string, string];
  style: Style;
  sep: string;
  sep2?: string;
};

export const IMAGE = '<image>';
/** Stands for a picture among tokens. */
export const IMAGE_TOKEN_INDEX = -200;
/** A label from which nothing is learned. */
export const IGNORE_INDEX = -100;

const polite = (who: string) =>
  `A chat between a curious ${who} and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the ${who}'s questions.`;
const TAGGED =
  'A chat between a curious user and an artificial intelligence assistant. The assistant is able to understand the visual ' +
  'content that the user provides, and assist the user with a variety of tasks using natural language.' +
  'The visual content will be provided with the following format: <Image>visual content</Image>.';
const SAFE =
  'You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe.  Your ' +
  'answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. Please ensure ' +
  'that your responses are socially unbiased and positive in nature.\n\nIf a question does not make any sense, or is not ' +
  "factually coherent, explain why instead of answering something not correct. If you don't know the answer to a question, " +
  "please don't share false information.";
const SEES =
  'You are a helpful language and vision assistant. You are able to understand the visual content that the user provides, ' +
  'and assist the user with a variety of tasks using natural language.';

const human = (version: string, system: string): Conversation => ({
  ...{ version, system, roles: ['Human', 'Assistant'], style: 'single', sep: '###' },
});
const user = (version: string, system: string): Conversation => ({
  ...{ version, system, roles: ['USER', 'ASSISTANT'], style: 'two', sep: ' ', sep2: '</s>' },
});
const inst = (version: string, system: string, sep: string): Conversation => ({
  ...{ version, system, roles: ['USER', 'ASSISTANT'], style: 'llama_2', sep, sep2: '</s>' },
});
const chatml = (system: string): Conversation => ({
  ...{ version: 'mpt', system: `<|im_start|>system\n${system}`, style: 'mpt', sep: '<|im_end|>' },
  roles: ['<|im_start|>user\n', '<|im_start|>assistant\n'],
});
const plain: Conversation = { version: 'plain', system: '', roles: ['', ''], style: 'plain', sep: '\n' };

const v0 = human('v0', polite('human'));
const v1 = user('v1', polite('user'));
const direct = chatml('Answer the questions.');
export const CONVERSATIONS: Record<string, Conversation> = {
  default: v0,
  v0,
  v1,
  vicuna_v1: v1,
  llama_2: inst('llama_v2', SAFE, '<s>'),
  mistral_instruct: inst('llama_v2', '', ''),
  chatml_direct: direct,
  mistral_direct: direct,
  plain,
  v0_plain: plain,
  llava_v0: v0,
  v0_mmtag: human('v0_mmtag', TAGGED),
  llava_v1: user('v1', polite('human')),
  v1_mmtag: user('v1_mmtag', TAGGED),
  llava_llama_2: inst('llama_v2', SEES, '<s>'),
  mpt: chatml(
    'A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and honest answers.',
  ),
};

export function conversation(name: string): Conversation {
  if (Object.hasOwn(CONVERSATIONS, name)) return CONVERSATIONS[name]!;
  throw new UserError(`[llava] template: got '${name}', want one of ${Object.keys(CONVERSATIONS).join(', ')}`);
}

/** In the order of trial: what a name holds, and how the model talks. */
const BY_NAME: [string, string][] = [
  ['llama-2', 'llava_llama_2'],
  ['mistral', 'mistral_instruct'],
  ['v1.6-34b', 'chatml_direct'],
  ['v1', 'llava_v1'],
  ['mpt', 'mpt'],
  ['v0', 'llava_v0'],
];

/** By the names of a model, as the original does; of a name that says nothing it is v1, where the original takes v0. */
export function conversationOf(names: readonly string[]): Conversation {
  const found = names.flatMap((name) => BY_NAME.find(([part]) => name.toLowerCase().includes(part))?.[1] ?? []);
  return conversation(found[0] ?? 'llava_v1');
}

/** Before this an answer ends. */
export const stopOf = ({ style, sep, sep2 = '' }: Conversation): string =>
  style === 'two' || style === 'llama_2' ? sep2 : sep;

/**
 * Messages, the user's first, in turn; null is the answer to come. `hasPicture`: the first message came with a picture, whose
 * placeholder goes where the template has it.
 */
export function promptOf(c: Conversation, given: readonly (string | null)[], hasPicture = false): string {
  const { system, roles, style, sep, sep2 = '' } = c;
  const messages = hasPicture ? withPicture(c, given) : given;
  const turn = (i: number) => roles[i % 2]!;
  const both = [sep, sep2];
  const join = (start: string, piece: (message: string | null, i: number) => string) =>
    start + messages.map(piece).join('');
  switch (style) {
    case 'single':
      return join(system + sep, (m, i) => (m ? `${turn(i)}: ${m}${sep}` : `${turn(i)}:`));
    case 'two':
      return join(system + sep, (m, i) => (m ? `${turn(i)}: ${m}${both[i % 2]}` : `${turn(i)}:`));
    case 'mpt':
      return join(system + sep, (m, i) => (m ? turn(i) + m + sep : turn(i)));
    case 'plain':
      return join(system, (m, i) => (m ? m + both[i % 2] : ''));
    case 'llama_2': {
      const told = system === '' ? '' : `<<SYS>>\n${system}\n<</SYS>>\n\n`;
      const text = join('', (m, i) => {
        if (!m) return '';
        return i % 2 === 0 ? `${sep}[INST] ${i === 0 ? told : ''}${m} [/INST]` : ` ${m} ${sep2}`;
      });
      return sep === '' ? text : text.replace(/^[<s>]+/, ''); // these characters, as the original strips them
    }
  }
}

export function checkTokenizer(tokenizer: Pick<Tokenizer, 'encode'>): void {
  if (typeof tokenizer?.encode === 'function') return;
  throw new TypeError(`[llava] tokenizer: got ${describe(tokenizer)}, want one of AutoTokenizer`);
}

/** Tokens of a text; -200 stands for each picture. Of the beginnings of its pieces the first alone is kept. */
export function tokenizer_image_token(text: string, tokenizer: Pick<Tokenizer, 'encode' | 'bos_token_id'>): number[] {
  if (typeof text !== 'string') throw new TypeError(`[llava] text: got ${describe(text)}, want a text`);
  checkTokenizer(tokenizer);
  const pieces = text.split(IMAGE).map((piece) => tokenizer.encode(piece));
  const { bos_token_id: bos } = tokenizer;
  const isBegun = bos !== undefined && pieces[0]?.[0] === bos;
  const rest = pieces.map((ids) => (isBegun ? ids.slice(1) : ids));
  return [...(isBegun ? [bos] : []), ...rest.flatMap((ids, i) => (i === 0 ? ids : [IMAGE_TOKEN_INDEX, ...ids]))];
}

function withPicture({ version }: Conversation, [first, ...rest]: readonly (string | null)[]): (string | null)[] {
  const asked = (first ?? '').replaceAll(IMAGE, '').trim();
  if (version.includes('mmtag')) return [`<Image>${IMAGE}</Image>`, 'Received.', asked, ...rest];
  return [`${IMAGE}\n${asked}`, ...rest];
}
