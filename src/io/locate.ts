// Where a model is, from all that a user may give for one.
import { checkOptions, describe } from '../tensor/check.ts';
import { UserError } from './error.ts';
import { type HubOptions, hubFolder } from './hub-folder.ts';
import { baseName, diskFolder, type Folder, fileFolder, statPath } from './source.ts';

/** A path of a folder or a file, an id of the hub (owner/name), a Folder, or the files of a page. */
export type ModelSource = string | Folder | Blob | readonly Blob[];

/** `subfolder`: the model is in this folder of the path or of the model on the hub. */
export type SourceOptions = HubOptions & { subfolder?: string | undefined };

/** As huggingface_hub has them, but for names without an owner. */
const HUB_ID = /^\w(?:[\w.-]*\w)?\/\w(?:[\w.-]*\w)?$/;
const NO_ID = /--|\.\.|\.git$/;

/**
 * What a text stands for is looked up once: an id of the hub becomes the folder that it is there, a path stays a path. So
 * does all else that was given.
 */
export async function lookUp(from: ModelSource, options: SourceOptions = {}): Promise<ModelSource> {
  checkOptions('model', options, "{ revision: 'main' }");
  const { subfolder } = options;
  if (typeof (subfolder ?? '') !== 'string')
    throw new UserError(`[model] subfolder: got ${describe(subfolder)}, want a path inside the folder`);
  if (typeof from !== 'string') return checkSource(from);
  const inside = (folder: Folder) => (subfolder ? folder.at(subfolder) : folder);
  const isPage = !globalThis.process?.versions?.node;
  if (!isPage && (await statPath(from))) return subfolder ? inside(diskFolder(from)) : from;
  if (HUB_ID.test(from) && !NO_ID.test(from)) return inside(await hubFolder(from, options));
  const id = 'an id of the hub (owner/name)';
  throw new UserError(isPage ? `[${from}] want ${id} or files` : `[${from}] no such file or folder, nor ${id}`);
}

/** A folder or files; `from` may be anything. */
function checkSource<T>(from: T): T {
  const has = (name: 'list' | 'open' | 'text') => typeof (from as Partial<Folder> | null)?.[name] === 'function';
  const isFolder = has('list') && has('open') && has('text');
  const isFiles = Array.isArray(from) && from.length > 0 && from.every((file) => file instanceof Blob);
  if (isFolder || isFiles || from instanceof Blob) return from;
  throw new UserError(`[model] got ${describe(from)}, want a path, an id of the hub (owner/name), a Folder, or Files`);
}

/** The folder that is meant, and the file where one was named. */
export async function locate(
  from: ModelSource,
  options: SourceOptions = {},
): Promise<{ folder: Folder; file?: string }> {
  const found = await lookUp(from, options);
  if (found instanceof Blob) {
    const folder = fileFolder([found]);
    return { folder, file: (await folder.list())[0]! };
  }
  if (typeof found !== 'string') return { folder: 'list' in found ? found : fileFolder(found) };
  if ((await statPath(found))?.isDirectory()) return { folder: diskFolder(found) };
  const name = baseName(found);
  return { folder: diskFolder(found.slice(0, found.length - name.length) || '.'), file: name };
}
