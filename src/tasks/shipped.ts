// What ships beside the code in the package's weights folder. For Node, Deno and Bun.
import { UserError } from '../io/error.ts';

/** Where this file can be below the package: dist/index.js, src/tasks/shipped.ts. */
const UP = ['..', '../..'];

/** The path of `weights/<name>` of this package. Throws a UserError where there is none: in a page, or in a bundle of one's own. */
export async function shipped(name: string): Promise<string> {
  if (globalThis.process?.versions?.node && import.meta.url.startsWith('file:')) {
    const { existsSync } = await import('node:fs');
    const { fileURLToPath } = await import('node:url');
    for (const up of UP) {
      const path = fileURLToPath(new URL(`${up}/weights/${name}`, import.meta.url));
      if (existsSync(path)) return path;
    }
  }
  throw new UserError(`[weights/${name}] is not beside the code here: give the folder or the files of a model`);
}
