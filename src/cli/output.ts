// What the command line writes, and what becomes of it when nobody takes it.
import process from 'node:process';
import { oneLine, visible } from './text.ts';

/** Why stdout takes no more: its reader has gone, the disk is full. */
let failure: Error | undefined;
process.stdout.on('error', ({ message, code }: NodeJS.ErrnoException) => {
  failure ??= Object.assign(new Error(`[stdout] cannot be written: ${message}`), { code });
});
process.stderr.on('error', () => {}); // nobody is left to tell

/** A line on stdout. Throws when stdout has failed, so that the work ends in order: drivers do not like process.exit. */
export const print = (text: string): void => write(`${text}\n`);

/** A piece of text on stdout, as `print`. */
export function write(text: string): void {
  if (failure) throw failure;
  process.stdout.write(text);
}

export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

/** One line on stderr. */
export const complain = (text: string): void => {
  process.stderr.write(`${visible(oneLine(text))}\n`);
};

/** Waits until all is written; throws what stopped it. */
export async function flush(): Promise<void> {
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
  if (failure) throw failure;
}

/** A reader that has seen enough (`| head`) is no failure. */
export const isHangUp = (error: unknown): boolean =>
  error === failure && (error as NodeJS.ErrnoException | undefined)?.code === 'EPIPE';
