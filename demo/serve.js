// Serves the repository on this machine, for the demo page: node demo/serve.js [port]
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.png': 'image/png',
  '.md': 'text/plain',
};

const text = process.argv[2] ?? '8080';
const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;

/** Ends with one line on stderr. */
function fail(code, why) {
  console.error(`[serve] ${why}`);
  process.exit(code);
}
if (!(port < 65536)) fail(2, `port: got '${text}', want 0 to 65535 (0: any that is free)`);

const server = createServer(async ({ url }, response) => {
  try {
    const file = path.join(ROOT, decodeURIComponent(new URL(url, 'http://localhost').pathname));
    const shown = ['demo', 'dist', 'weights'].some((folder) => file.startsWith(path.join(ROOT, folder, path.sep)));
    const found = shown ? await stat(file) : undefined;
    if (!found?.isFile()) throw new Error('no such file');
    response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream');
    response.setHeader('content-length', found.size);
    createReadStream(file)
      .on('error', () => response.destroy())
      .pipe(response);
  } catch {
    response.writeHead(404).end('not found');
  }
});
server.on('error', ({ message }) => fail(1, `${message}; try another: npm run demo -- 0`));
server.listen(port, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/demo/index.html`);
});
