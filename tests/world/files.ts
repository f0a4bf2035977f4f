// Files of weights/, in any runtime: `root` is the repository on disk; a page has it at its origin.
export const reader =
  (root: string) =>
  async (file: string): Promise<Uint8Array<ArrayBuffer>> => {
    if (!globalThis.process?.versions?.node) {
      return new Uint8Array(await (await fetch(new URL(`/weights/${file}`, location.href))).arrayBuffer());
    }
    const { readFile } = await import('node:fs/promises');
    return new Uint8Array(await readFile(`${root}/weights/${file}`));
  };
