// Pictures of a folder by words: those whose embeddings lie nearest. Each picture is embedded once (search-index.ts). Node,
// Deno and Bun only.
import { UserError } from '../io/error.ts';
import { at, type PictureFile } from '../io/pictures.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import type { ModelSource } from './auto.ts';
import { type Embedder, embedder } from './embedder.ts';
import { type Entries, makerOf, openIndex, type SearchIndex } from './search-index.ts';

/** `score` is the cosine between picture and words. */
export type Match = { picture: string; score: number };

export type UpdateOptions = {
  batch_size?: number | undefined;
  /** Told of a picture that cannot be read, each time; the rest goes on. */
  on_error?: ((picture: string, message: string) => void) | undefined;
  on_progress?: ((done: number, total: number) => void) | undefined;
  /** Told why what was kept is made anew, or cannot be kept. */
  on_note?: ((message: string) => void) | undefined;
};

/** Pictures that can be found, those of them embedded just now, those that are gone; the file that keeps them. */
export type Updated = { pictures: number; embedded: number; dropped: number; index: string | undefined };

export type Searcher = {
  /** The best first. */
  (words: string, top?: number): Promise<Match[]>;
  /** Embeds those of `files` that are new or changed, and forgets what is not among them. */
  update(files: readonly PictureFile[], options?: UpdateOptions): Promise<Updated>;
  model: Embedder['model'];
  model_type: string;
  dispose(): void;
  [Symbol.dispose](): void;
};

const SAVE_EVERY = 5000; // ms; what is lost when the process is killed
const SAVE_SHARE = 20; // at most a twentieth of the time goes into saving

/**
 * A search in a folder; `name` is what its index calls the model. First `update(await findPictures(folder, ...))`, which goes
 * on where an interrupted one was. Throws as the embedder does.
 */
export async function searcher(
  folder: string,
  source: ModelSource,
  name: string,
  options: FromPretrained = {},
): Promise<Searcher> {
  const texts = await embedder(source, 'texts', options);
  let entries: Entries = new Map();

  async function update(files: readonly PictureFile[], options: UpdateOptions = {}): Promise<Updated> {
    const { on_error, on_note } = options;
    const index = await openIndex(folder, await makerOf(source, name, loading));
    if (index.refused) on_note?.(`${index.refused}; a new one is made`);
    const todo: PictureFile[] = [];
    entries = new Map();
    for (const file of files) {
      const known = index.entries.get(file.name);
      if (known?.size !== file.size || known.mtime !== file.mtime) todo.push(file);
      else {
        entries.set(file.name, known);
        if ('error' in known) on_error?.(file.name, messageOf(folder, file.name, known.error));
      }
    }
    const names = new Set(files.map((file) => file.name));
    const dropped = [...index.entries.keys()].filter((name) => !names.has(name)).length;
    const save = saver(index, entries, on_note);
    try {
      if (todo.length > 0) await embed(todo, save, options);
    } finally {
      if (todo.length > 0 || dropped > 0) await save(true);
    }
    const found = (list: readonly PictureFile[]) => list.filter(({ name }) => row(name)).length;
    return { pictures: found(files), embedded: found(todo), dropped, index: index.path };
  }

  async function embed(todo: readonly PictureFile[], save: Save, options: UpdateOptions): Promise<void> {
    const { batch_size = 8, on_error, on_progress } = options;
    using embed = await embedder(source, 'pictures', { ...loading, progress_callback: undefined });
    for (let first = 0; first < todo.length; first += batch_size) {
      const batch = new Map(todo.slice(first, first + batch_size).map((file) => [at(folder, file.name), file]));
      const { inputs, data, shape } = await embed([...batch.keys()], {
        normalize: true,
        batch_size,
        on_error(path, error) {
          const { name, size, mtime } = batch.get(path)!;
          const isOfFile = (error.cause as NodeJS.ErrnoException | undefined)?.syscall === undefined; // else it may pass
          if (isOfFile) entries.set(name, { size, mtime, error: error.message.replace(`[${path}] `, () => '') });
          on_error?.(name, error.message);
        },
      });
      for (const [i, path] of inputs.entries()) {
        const { name, size, mtime } = batch.get(path)!;
        entries.set(name, { size, mtime, row: data.slice(i * shape[1], (i + 1) * shape[1]) });
      }
      await save();
      on_progress?.(Math.min(first + batch_size, todo.length), todo.length);
    }
  }

  const row = (name: string): Float32Array | undefined => {
    const entry = entries.get(name);
    return entry && 'row' in entry ? entry.row : undefined;
  };

  async function search(words: string, top = 5): Promise<Match[]> {
    const { data } = await texts([words], { normalize: true });
    const matches: Match[] = [];
    for (const picture of entries.keys()) {
      const found = row(picture);
      if (found) matches.push({ picture, score: data.reduce((sum, value, i) => sum + value * found[i]!, 0) });
    }
    return matches.sort((a, b) => b.score - a.score).slice(0, top);
  }

  const { model, model_type } = texts;
  const loading = { ...options, device: model.device };
  const dispose = () => texts.dispose();
  return Object.assign(search, { update, model, model_type, dispose, [Symbol.dispose]: dispose });
}

const messageOf = (folder: string, name: string, error: string) => `[${at(folder, name)}] ${error}`;

type Save = (now?: boolean) => Promise<void>;

/** Keeps `entries` every few seconds; once that fails it is told and left. */
function saver(index: SearchIndex, entries: Entries, on_note: UpdateOptions['on_note']): Save {
  let [last, cost, isOff] = [performance.now(), 0, false];
  return async (now = false) => {
    const start = performance.now();
    if (isOff || (!now && start - last < Math.max(SAVE_EVERY, SAVE_SHARE * cost))) return;
    try {
      await index.save(entries);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      isOff = true;
      on_note?.(`${error.message}; the next search starts anew`);
    }
    last = performance.now();
    cost = last - start;
  };
}
