// Files that commands are given: lists to read, places to write to.
import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { explain, UserError } from '../io/error.ts';
import { statPath } from '../io/source.ts';

/** The lines of a text file, without those that are empty. Throws a UserError when there are none. */
export async function readLines(file: string): Promise<string[]> {
  const { text, lines } = await explain(file, 'cannot be read', async () => {
    if ((await stat(file)).isCharacterDevice()) throw new Error('this is a device, want a text file');
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file));
    return { text, lines: text.split(/\r?\n/).filter((line) => line.trim() !== '') };
  });
  if (text.includes('\0')) throw new UserError(`[${file}] cannot be read: this is no text file`);
  if (lines.length === 0) throw new UserError(`[${file}] is empty: want something on each line`);
  return lines;
}

/** Throws a UserError unless files of these `kinds` can be written at `file` and beside it at `more`. */
export async function checkOutput(file: string, kinds: readonly string[], more: readonly string[]): Promise<void> {
  const kind = path.extname(file).toLowerCase();
  if (!kinds.includes(kind)) {
    throw new UserError(
      `[${file}] not a type that can be written: got ${kind || 'no ending'}, want ${kinds.join(' or ')}`,
    );
  }
  for (const one of [file, ...more]) {
    if ((await statPath(one))?.isDirectory()) throw new UserError(`[${one}] cannot be written: it is a folder`);
  }
  const folder = `${path.dirname(file)}${path.sep}.`; // an error if that is a file
  await explain(file, 'cannot be written', () => access(folder, constants.W_OK));
}
