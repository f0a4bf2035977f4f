// Conversations as tokens and what of them is learned: the answers. Reference: llava/mm_utils.py and llava/train/train.py of
// https://github.com/haotian-liu/LLaVA.
import {
  type Conversation,
  checkTokenizer,
  conversation,
  IGNORE_INDEX,
  IMAGE,
  promptOf,
  stopOf,
  tokenizer_image_token,
} from '../io/conversation.ts';
import { UserError } from '../io/error.ts';
import type { Tokenizer } from '../io/tokenizer.ts';
import { describe } from '../tensor/check.ts';

export type Labelled = {
  input_ids: number[];
  /** -100 is not learned. */
  labels: number[];
  /** The pieces did not add up: nothing is learned. */
  mismatch: boolean;
};

/**
 * Messages in turn, the user's first, with their answers, in a conversation such as 'v1': what
 * LlavaMetaForCausalLM.prepare_inputs_labels_for_multimodal takes. Throws a UserError for another conversation.
 */
export function preprocess(version: string, given: readonly string[], tokenizer: Tokenizer): Labelled {
  const c = conversation(version);
  if (!Array.isArray(given) || !given.every((text) => typeof text === 'string'))
    throw new TypeError(`[llava] messages: got ${describe(given)}, want texts`);
  checkTokenizer(tokenizer);
  const hasPicture = given.some((text) => text.includes(IMAGE));
  const messages = given.map((text) => (text.includes(IMAGE) ? placed(c, text) : text));
  const length = (text: string) => tokenize(text).length;
  const tokenize = (text: string) => (hasPicture ? tokenizer_image_token(text, tokenizer) : tokenizer.encode(text));
  if (c.style === 'plain') return plain(c, messages, tokenize);
  if (c.style === 'single') return single(c, messages, tokenize);
  if (c.style === 'mpt')
    throw new UserError(`[llava] template: got ${c.version}, want v0, v1, llama_2 or plain to learn from`);
  const text = promptOf(c, messages);
  const input_ids = tokenize(text);
  const labels = [...input_ids];
  const before = c.style === 'two' ? `${c.sep}${c.roles[1]}: ` : '[/INST] '; // an answer
  let at = 1;
  labels.fill(IGNORE_INDEX, 0, at);
  for (const round of text.split(stopOf(c))) {
    const [asked, ...rest] = round.split(before);
    if (round === '' || rest.length !== 1) break;
    labels.fill(IGNORE_INDEX, at, at + length(asked! + before) - 2);
    at += length(round);
  }
  labels.fill(IGNORE_INDEX, at);
  const mismatch = at !== input_ids.length;
  return { input_ids, labels: mismatch ? labels.fill(IGNORE_INDEX) : labels, mismatch };
}

type Tokenize = (text: string) => number[];

/** The placeholder goes to the beginning of its message. */
function placed({ version }: Conversation, text: string): string {
  const whole = `${IMAGE}\n${text.replaceAll(IMAGE, '').trim()}`.trim();
  return version.includes('mmtag') ? whole.replaceAll(IMAGE, `<Image>${IMAGE}</Image>`) : whole;
}

function plain({ sep }: Conversation, messages: readonly string[], tokenize: Tokenize): Labelled {
  const [first, answer = ''] = messages;
  if (messages.length !== 2 || !first!.includes(IMAGE)) {
    throw new UserError('[llava] plain: want a message with a picture, and what is said of it');
  }
  const input_ids = tokenize(IMAGE + answer + sep);
  const labels = [...input_ids].fill(IGNORE_INDEX, 0, tokenize(IMAGE).length);
  return { input_ids, labels, mismatch: false };
}

/** Each message is `### Role: text`; of the user's the mark is learned, as the original does. */
function single(c: Conversation, messages: readonly string[], tokenize: Tokenize): Labelled {
  const header = `${c.system}\n\n`;
  const said = messages.map((text, i) => `### ${c.roles[i % 2]}: ${text}\n`);
  const input_ids = tokenize(`${header}${said.join('')}### `);
  const labels = [...input_ids];
  let at = tokenize(header).length;
  labels.fill(IGNORE_INDEX, 0, at);
  for (const [i, text] of said.entries()) {
    const end = at + tokenize(text).length;
    if (i % 2 === 0) labels.fill(IGNORE_INDEX, at + 2, end);
    at = end;
  }
  return { input_ids, labels, mismatch: false };
}
