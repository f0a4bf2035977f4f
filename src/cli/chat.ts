// tessera chat: a conversation in the terminal; one plain answer to what is piped in.
import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { text as readAll } from 'node:stream/consumers';
import type { Command } from 'commander';
import { explain, UserError } from '../io/error.ts';
import { writeWhole } from '../io/write.ts';
import type { ImageTextInput, VisionMessage } from '../tasks/image-text-to-text.ts';
import { load_image } from '../tasks/load-image.ts';
import type { Session, TextOptions } from '../tasks/session.ts';
import { entry } from './entry.ts';
import { shown, statsLine, type TextArguments, textOptions, withText } from './generate.ts';
import { complain, print, printJson, write } from './output.ts';
import { paint, terminalOf } from './terminal.ts';
import { visible, visibleLines } from './text.ts';
import { sees, sessionOf, withWriter } from './writer.ts';

type Options = TextArguments & { system?: string; allowUrls?: boolean };

export function addChat(program: Command): void {
  const command = program
    .command('chat')
    .description('A conversation with a language model (LLaMA; LLaVA, about pictures too)')
    .option('--system <text>', 'what the model is told before the conversation')
    .option('--allow-urls', 'fetch the pictures that a conversation of /load names by http and https addresses')
    .addHelpText(
      'after',
      `${HELP}\n\nPiped input is answered once, in plain text: echo "Name a fruit." | tessera chat --model ./folder`,
    );
  withText(command).action(chat);
}

const HELP = `
In the conversation:
  /image FILE   show a picture (LLaVA); what you say next is about it
  /reset        begin anew
  /save FILE    put the conversation away, with what was computed for it
  /load FILE    go on with one
  /stats        how fast the last answer came, and what is held
  /exit         end (or Ctrl-D, or Ctrl-C twice); Ctrl-C stops an answer
  What is pasted is one message, lines and all, once you press Enter`;

async function chat(options: Options): Promise<void> {
  const told = textOptions(options);
  const system: VisionMessage[] = options.system === undefined ? [] : [{ role: 'system', content: options.system }];
  const piped = process.stdin.isTTY ? undefined : (await readAll(process.stdin)).trim();
  if (piped === '') throw new UserError('[chat] stdin: got nothing, want a question');
  await withWriter(options, async ({ task, about, where }) => {
    using session = sessionOf(task);
    const greeting = `${task.model.name} on ${where}. /help, /exit${sees(task) ? ', /image FILE' : ''}`;
    if (piped === undefined) return await converse(session, system, told, greeting, sees(task), options.allowUrls);
    const asked = session.stream([...system, { role: 'user', content: piped }], told);
    for await (const piece of shown(asked)) if (!options.json) write(piece);
    const { prompt_ids, ids, text, finish_reason, stats } = session.last!;
    if (options.json) printJson({ command: 'chat', ...about, prompt_ids, ids, text, finish_reason, stats });
    else print('');
  });
}

/** Until /exit or the end of the input. What goes wrong is told, and the conversation goes on. */
async function converse(
  session: Session<ImageTextInput>,
  system: readonly VisionMessage[],
  told: TextOptions,
  greeting: string,
  isSeeing: boolean,
  allowUrls = false,
): Promise<void> {
  const terminal = terminalOf(process.stdout, process.env);
  const prompt = paint(terminal, 'bold', '> ');
  let messages = [...system];
  let pictures: string[] = []; // for the next message
  let answering: AbortController | undefined;
  const onInterrupt = (isSecond: boolean) => {
    if (answering) return answering.abort();
    if (isSecond) return typed.close();
    print('\n(Ctrl-C again, Ctrl-D or /exit ends the conversation)');
    typed.open();
  };
  const typed = entry(prompt, { onInterrupt, onEnd: () => answering?.abort() });
  const commands: Record<string, (file: string) => unknown> = {
    '/help': () => print(HELP.trim()),
    '/reset': () => {
      session.reset();
      messages = [...system];
      pictures = [];
    },
    '/image': async (file) => {
      if (!isSeeing) throw new UserError('[chat] /image: this model sees no pictures, want a LLaVA');
      const { width, height } = await load_image(named(file, '/image photo.jpg'));
      pictures.push(file);
      print(`a picture of ${width} x ${height}: what about it?`);
    },
    '/save': async (file) => {
      const bytes = await session.save({ messages: JSON.stringify(messages) });
      await explain(file, 'cannot be written', () => writeWhole(named(file), (write) => write(bytes)));
      print(`${session.tokens.length} tokens in ${visible(file)}`);
    },
    '/load': async (file) => {
      const notes = await session.load(await explain(named(file), 'cannot be read', () => readFile(file)));
      messages = [...system]; // where those of the file are broken
      messages = messagesOf(notes.messages, system, allowUrls);
      print(`${session.tokens.length} tokens, ${messages.length} messages`);
    },
    '/stats': () => {
      if (session.last) print(statsLine(session.last.stats));
      print(`${session.tokens.length} tokens are held in ${(session.nbytes / 1e6).toFixed(1)} MB`);
    },
  };
  const answer = async (text: string) => {
    answering = new AbortController();
    const parts = pictures.map((image) => ({ type: 'image' as const, image }));
    const content = parts.length > 0 ? [...parts, { type: 'text' as const, text }] : text;
    const asked: VisionMessage[] = [...messages, { role: 'user', content }];
    const before = session.last;
    try {
      for await (const piece of shown(session.stream(asked, { ...told, signal: answering.signal }))) write(piece);
    } catch (error) {
      if (!answering.signal.aborted) throw error;
    } finally {
      answering = undefined;
      print('');
    }
    const { last } = session;
    if (!last || last === before || last.text === '') return; // stopped before a word: as if it had not been asked
    pictures = [];
    messages = [...asked, { role: 'assistant', content: last.text }];
  };
  print(paint(terminal, 'dim', greeting));
  typed.open();
  for await (const { text, isShown } of typed.messages) {
    if (!isShown) print(`${prompt}${visibleLines(text)}`);
    const message = text.trim();
    const name = message.includes('\n') ? '' : message.split(/\s/, 1)[0]!;
    if (name === '/exit' || name === '/quit') break;
    typed.hide();
    try {
      const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
      if (command) await command(message.slice(name.length).trim());
      else if (name.startsWith('/')) throw new UserError(`[chat] ${name}: no such command, see /help`);
      else if (message !== '') await answer(message);
    } catch (error) {
      complain(`error: ${error instanceof Error ? error.message : String(error)}`);
    }
    typed.open();
  }
  typed.close();
}

/**
 * The messages that were saved with a session; those of a new conversation where it was saved by other means. A file may come
 * from anybody: what it names is fetched where that is allowed alone.
 */
export function messagesOf(
  note: string | undefined,
  system: readonly VisionMessage[],
  allowUrls: boolean,
): VisionMessage[] {
  if (note === undefined) return [...system];
  const messages = parsed(note);
  if (!Array.isArray(messages)) {
    throw new UserError('[chat] the messages in the file are broken: the conversation begins anew');
  }
  const parts = messages.flatMap((message) => message?.content ?? []);
  const address = parts
    .map((part) => part?.image)
    .find((image) => typeof image === 'string' && /^https?:/i.test(image));
  if (address === undefined || allowUrls) return messages;
  const want = 'nothing that would be fetched, or --allow-urls; the conversation begins anew';
  throw new UserError(`[chat] /load: got a picture at ${visible(address)} in the file, want ${want}`);
}

function parsed(note: string): unknown {
  try {
    return JSON.parse(note);
  } catch {
    return undefined; // damaged
  }
}

function named(file: string, example = '/save talk.safetensors'): string {
  if (file === '') throw new UserError(`[chat] got no name of a file, want one: ${example}`);
  return file;
}
