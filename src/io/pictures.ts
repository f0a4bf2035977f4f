// The pictures in a folder and in the folders inside it. Node, Deno and Bun only.
import { explain, UserError } from './error.ts';
import { SNIFF_BYTES, sniff } from './sniff.ts';
import { fromPath, statPath } from './source.ts';

/** `name` is the path from the folder on, with `/` between its parts; `mtime` in milliseconds. */
export type PictureFile = { name: string; size: number; mtime: number };

const PICTURE = /\.(?:png|jpe?g|jpe|jfif|webp)$/i;
const PICTURES = ['a PNG picture', 'a JPEG picture', 'a WebP picture'];
const AT_ONCE = 64;

type OnError = (file: string, error: UserError) => void;

/**
 * Files that are named as PNG, JPEG or WebP, or have no ending and are one; sorted. Links are followed, each folder is
 * entered once, and what begins with a dot is left out. `on_error` is told of what cannot be looked at. Throws a UserError
 * when `root` is no folder.
 */
export async function findPictures(root: string, on_error: OnError): Promise<PictureFile[]> {
  const { readdir, realpath } = await import('node:fs/promises');
  if (!(await statPath(root))?.isDirectory()) throw new UserError(`[${root}] no such folder: want one with pictures`);
  const seen = new Set<string>();
  const found: PictureFile[] = [];
  const folders = [''];
  const linked: string[] = []; // entered last: what they lead to may have a name of its own
  async function look(name: string, isLink: boolean): Promise<void> {
    if (!isLink && !mayBePicture(name)) return;
    const file = await statPath(at(root, name));
    if (!file) throw new UserError(`[${at(root, name)}] is not there: is it a link to nothing, or its name not UTF-8?`);
    if (file.isDirectory()) linked.push(name);
    const { size, mtimeMs: mtime } = file;
    if (file.isFile() && (await isPicture(root, name))) found.push({ name, size, mtime });
  }
  async function enter(folder: string): Promise<void> {
    const place = at(root, folder);
    const list = async () => {
      const real = await realpath(place);
      if (seen.has(real)) return [];
      seen.add(real);
      return readdir(place, { withFileTypes: true });
    };
    const entries = (await explain(place, 'cannot be listed', list)).filter((entry) => !entry.name.startsWith('.'));
    const files = entries.filter((entry) => !entry.isDirectory() && (entry.isFile() || entry.isSymbolicLink()));
    for (const entry of entries) if (entry.isDirectory()) folders.push(at(folder, entry.name));
    for (let i = 0; i < files.length; i += AT_ONCE) {
      const some = files.slice(i, i + AT_ONCE).map((entry) => {
        const name = at(folder, entry.name);
        return attempt(name, () => look(name, entry.isSymbolicLink()));
      });
      await Promise.all(some);
    }
  }
  async function attempt(name: string, work: () => Promise<void>): Promise<void> {
    await work().catch((error) => {
      if (!(error instanceof UserError) || name === '') throw error;
      on_error(at(root, name), error);
    });
  }
  for (let next = folders.pop(); next !== undefined; next = folders.pop() ?? linked.sort().pop()) {
    const folder = next;
    await attempt(folder, () => enter(folder));
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The path of what is called `name` in a folder. */
export const at = (folder: string, name: string): string => {
  if (name === '' || folder === '') return folder + name;
  return /[\\/]$/.test(folder) ? folder + name : `${folder}/${name}`;
};

const hasEnding = (name: string) => /[^/]\.[^/.]*$/.test(name);
const mayBePicture = (name: string) => PICTURE.test(name) || !hasEnding(name);

async function isPicture(root: string, name: string): Promise<boolean> {
  if (PICTURE.test(name)) return true;
  if (hasEnding(name)) return false;
  const source = await fromPath(at(root, name));
  try {
    return PICTURES.includes(sniff(await source.read(0, Math.min(source.size, SNIFF_BYTES))) ?? '');
  } finally {
    await source.close?.();
  }
}
