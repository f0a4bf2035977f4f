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

createServer(async ({ url }, response) => {
  try {
    const file = path.join(ROOT, decodeURIComponent(new URL(url, 'http://localhost').pathname));
    const shown = ['demo', 'dist', 'weights'].some((folder) => file.startsWith(path.join(ROOT, folder, path.sep)));
    if (!shown || !(await stat(file)).isFile()) throw new Error('no such file');
    response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream');
    createReadStream(file).pipe(response);
  } catch {
    response.writeHead(404).end('not found');
  }
}).listen(Number(process.argv[2] ?? 8080), '127.0.0.1', function () {
  console.log(`http://127.0.0.1:${this.address().port}/demo/index.html`);
});
