// Folders of caches on disk. For Node, Bun and Deno; node: imports are dynamic.

/** `mkdir` with `recursive` never ends in Node where a folder that exists takes no new one and says ENOENT, as /proc does. */
export async function makeFolder(folder: string): Promise<void> {
  const { mkdir } = await import('node:fs/promises');
  const path = await import('node:path');
  const make = () =>
    mkdir(folder).catch((error) => {
      if (error.code !== 'EEXIST') throw error;
    });
  await make().catch(async (error) => {
    if (error.code !== 'ENOENT' || path.dirname(folder) === folder) throw error;
    await makeFolder(path.dirname(folder));
    await make();
  });
}
