// A folder over http://127.0.0.1, for pages of another origin.
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

/** Files of `root` at `url`, which is the folder's; nothing outside of it. */
export async function serveFolder(root: string): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(async ({ url = '' }, response) => {
    response.setHeader('access-control-allow-origin', '*');
    const file = path.resolve(root, `.${decodeURIComponent(new URL(url, 'http://localhost').pathname)}`);
    const isInside = file.startsWith(`${path.resolve(root)}${path.sep}`);
    const found = isInside ? await stat(file).catch(() => undefined) : undefined;
    if (!found?.isFile()) return response.writeHead(404).end();
    return createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The files below a folder, with `/` between the parts of a name. */
export async function filesBelow(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  const files = await Promise.all(
    names.map(async (name) => ((await stat(path.join(folder, name))).isFile() ? [name] : [])),
  );
  return files
    .flat()
    .map((name) => name.split(path.sep).join('/'))
    .sort();
}
