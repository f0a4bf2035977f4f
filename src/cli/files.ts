// Files that commands are given: pictures and lists to read, places to write to.
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import path from 'node:path';
import { makeFolder } from '../gpu/make-folder.ts';
import { explain, UserError } from '../io/error.ts';
import { statPath } from '../io/source.ts';
import { checkPath } from '../tasks/load-image.ts';
import { complain } from './output.ts';

/** Of several pictures one that cannot be used is told and left out; a picture alone is an error. */
export class Pictures {
  readonly #all: readonly string[];
  readonly failed: { picture: string; error: string }[] = [];

  constructor(all: readonly string[]) {
    this.#all = all;
  }

  /** Those that are there, before a model is loaded. */
  async there(): Promise<string[]> {
    for (const picture of this.#all) await this.attempt(picture, checkPath(picture));
    return this.#all.filter((picture) => !this.failed.some((one) => one.picture === picture));
  }

  /** What comes of a picture; undefined where it is left out. */
  async attempt<T>(picture: string, work: Promise<T>): Promise<T | undefined> {
    return work.catch((error: unknown) => {
      if (!(error instanceof UserError) || this.#all.length === 1) throw error;
      this.failed.push({ picture, error: error.message });
      complain(`error: ${error.message}`);
      return undefined;
    });
  }

  /** Throws a UserError where any was left out. */
  end(command: string): void {
    const { length } = this.failed;
    if (length === 0) return;
    throw new UserError(`[${command}] left out ${length} of ${this.#all.length} pictures, see above`);
  }
}

/** The lines of a text file, without those that are empty. Throws a UserError when there are none. */
export async function readLines(file: string): Promise<string[]> {
  const found = await statPath(file);
  if (!found) throw new UserError(`[${file}] no such file: want a text file`);
  if (found.isDirectory()) throw new UserError(`[${file}] is a folder: want a text file`);
  if (found.isCharacterDevice()) throw new UserError(`[${file}] is a device: want a text file`); // /dev/zero has no end
  const bytes = await explain(file, 'cannot be read', () => readFile(file));
  const lines = textOf(bytes, file).split(/\r?\n/);
  const full = lines.filter((line) => line.trim() !== '');
  if (full.length === 0) throw new UserError(`[${file}] is empty: want something on each line`);
  return full;
}

function textOf(bytes: Uint8Array, file: string): string {
  try {
    if (!bytes.includes(0)) return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {} // what it says differs between runtimes
  throw new UserError(`[${file}] cannot be read: this is no text in UTF-8`);
}

/** Throws a UserError unless files of these `kinds` can be written at `file` and beside it at `more`. */
export async function checkOutput(file: string, kinds: readonly string[], more: readonly string[] = []): Promise<void> {
  const kind = path.extname(file).toLowerCase();
  if (!kinds.includes(kind)) {
    throw new UserError(
      `[${file}] not a type that can be written: got ${kind || 'no ending'}, want ${kinds.join(' or ')}`,
    );
  }
  for (const one of [file, ...more]) {
    if ((await statPath(one))?.isDirectory()) throw new UserError(`[${one}] cannot be written: it is a folder`);
  }
  const folder = path.dirname(file);
  if (!(await statPath(folder))?.isDirectory()) throw new UserError(`[${file}] cannot be written: no such folder`);
  await explain(file, 'cannot be written', () => access(folder, constants.W_OK));
}

/** Makes a folder where there is none. Throws a UserError unless files can be written in it. */
export async function openFolder(folder: string): Promise<void> {
  await explain(folder, 'cannot be made', () => makeFolder(folder));
  if (!(await statPath(folder))?.isDirectory()) throw new UserError(`[${folder}] is a file: want a folder to write to`);
  await explain(folder, 'cannot be written', () => access(folder, constants.W_OK));
}
