// What is typed or pasted into a terminal, message by message, and kept out of what is written meanwhile.
import process from 'node:process';
import { createInterface } from 'node:readline';
import { PassThrough, type Readable, Writable } from 'node:stream';

export type Message = {
  /** A line; what was pasted has several, and is one message with the line that Enter ended. */
  text: string;
  /** Whether it has been on the screen. */
  isShown: boolean;
};

export type Entry = {
  messages: AsyncIterable<Message>;
  /** Asks for the next message, with what was typed since the last one. */
  open(): void;
  /** Until the next `open` nothing of what is typed is shown. */
  hide(): void;
  close(): void;
};

const PASTES = { on: '\x1b[?2004h', off: '\x1b[?2004l' }; // "bracketed": the terminal says where a paste begins and ends

type Told = {
  /** Of each Ctrl-C, and whether it is the second in a row; one during an answer does not count. */
  onInterrupt(isSecond: boolean): void;
  /** Once there are no more messages. */
  onEnd(): void;
};
type Streams = { stdin: Readable; stdout: Writable & { isTTY?: boolean; columns?: number } };

export function entry(prompt: string, { onInterrupt, onEnd }: Told, { stdin, stdout }: Streams = process): Entry {
  const terminal = stdout.isTTY === true && process.env.TERM !== 'dumb';
  let [isShown, isPasting, isInterrupted, isClosed] = [true, false, false, false];
  const write = (chunk: Uint8Array, _: string, done: () => void) => {
    if (isShown) stdout.write(chunk);
    done();
  };
  const screen = Object.defineProperty(new Writable({ write }), 'columns', { get: () => stdout.columns });
  const resized = () => screen.emit('resize');
  stdout.on('resize', resized);
  const lines = createInterface({ input: stdin, output: screen, terminal, prompt });
  const messages = new PassThrough({ objectMode: true });
  let pasted: string[] = [];
  const pressed = (_: unknown, { name }: { name?: string }) => {
    if (name === 'paste-start' || name === 'paste-end') isPasting = name === 'paste-start';
  };
  if (terminal) {
    stdout.write(PASTES.on);
    stdin.on('keypress', pressed);
  }
  lines.on('line', (line) => {
    isInterrupted = false;
    pasted.push(line);
    if (isPasting) return;
    messages.write({ text: pasted.join('\n'), isShown });
    pasted = [];
  });
  const interrupted = () => {
    pasted = [];
    for (const name of terminal ? ['e', 'u'] : []) lines.write(null, { ctrl: true, name }); // to the end of the line, then all before it goes
    onInterrupt(isInterrupted);
    isInterrupted = true;
  };
  const keys = terminal ? lines : process; // where the terminal is not in our hands, its Ctrl-C is a signal
  keys.on('SIGINT', interrupted);
  lines.on('close', () => {
    isClosed = true;
    stdout.off('resize', resized);
    stdin.off('keypress', pressed);
    keys.off('SIGINT', interrupted);
    if (terminal) stdout.write(PASTES.off);
    messages.end();
    onEnd();
  });
  return {
    messages,
    open() {
      [isShown, isInterrupted] = [true, false];
      if (!isClosed) lines.prompt(true); // of a closed one it would open the input again
    },
    hide() {
      isShown = false;
    },
    close: () => lines.close(),
  };
}
