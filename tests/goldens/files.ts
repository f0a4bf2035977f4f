// The files of one case: in a folder on disk (Node, Bun, Deno), or fetched (a page or its worker).

/** Where a case lies: the path of its folder, or its address and the names of its files. */
export type Place = { path: string } | { url: string; names: string[] };

export type CaseFiles = {
  name: string;
  /** What `from_pretrained` gets, of the case or a folder in it: its path, or files as `<input webkitdirectory>` gives them. */
  checkpoint(folder?: string): Promise<string | File[]>;
  read(file: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
};

export function openCase(place: Place): CaseFiles {
  if ('path' in place) return onDisk(place.path);
  const name = decodeURIComponent(place.url.split('/').at(-1)!);
  return asFiles(name, place.names, async (file) => {
    const response = await fetch(`${place.url}/${encodeURI(file)}`);
    if (!response.ok) throw new Error(`[${name}] ${file}: got ${response.status} ${response.statusText}`);
    return new Uint8Array(await response.arrayBuffer());
  });
}

function onDisk(path: string): CaseFiles {
  return {
    name: path.split(/[\\/]/).at(-1)!,
    checkpoint: async (folder) => (folder ? `${path}/${folder}` : path),
    async read(file) {
      const { readFile } = await import('node:fs/promises');
      const found = await readFile(`${path}/${file}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        return undefined;
      });
      return found && new Uint8Array(found);
    },
  };
}

/** A case of which only names and bytes are known. */
export function asFiles(
  name: string,
  names: readonly string[],
  bytes: (file: string) => Promise<Uint8Array<ArrayBuffer>>,
): CaseFiles {
  const open = async (path: string, below: string) => {
    const file = new File([await bytes(path)], path.split('/').at(-1)!);
    return Object.defineProperty(file, 'webkitRelativePath', { value: `${name}/${path.slice(below.length)}` });
  };
  return {
    name,
    checkpoint: (folder) => {
      const below = folder ? `${folder}/` : '';
      return Promise.all(names.filter((path) => path.startsWith(below)).map((path) => open(path, below)));
    },
    read: async (file) => (names.includes(file) ? bytes(file) : undefined),
  };
}

/** A file of JSON, or undefined where there is none. */
export async function readJson<T>(files: CaseFiles, file: string): Promise<T | undefined> {
  const bytes = await files.read(file);
  return bytes && (JSON.parse(new TextDecoder().decode(bytes)) as T);
}
