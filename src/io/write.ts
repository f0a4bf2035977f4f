// Files on disk that are whole or not there: written beside their place, then renamed. Node, Deno and Bun only.
import { explain } from './error.ts';

/** Writes `path` through `fill`. After an error the old file, if any, is untouched and nothing else is left. */
export async function writeWhole(
  path: string,
  fill: (write: (bytes: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<void> {
  const { open, rename, rm } = await import('node:fs/promises');
  const temporary = `${path}.${Math.random().toString(36).slice(2, 10)}.part`;
  const handle = await explain(path, 'cannot be written', () => open(temporary, 'wx'));
  try {
    await fill(async (bytes) => {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await explain(path, 'cannot be written', () => handle.write(bytes, done));
        done += bytesWritten;
      }
    });
    await explain(path, 'cannot be written', () => handle.sync());
    await handle.close();
    await explain(path, 'cannot be written', () => rename(temporary, path));
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
}
