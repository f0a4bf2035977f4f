// Runs one bundle in Node, Bun or Deno. In: a line of JSON { bundle, options, marker, limit }. Out: the marker and the
// result as JSON on a line of stdout. The open stdin is the parent's hand: when it lets go, this process ends, and a
// thread ends it after `limit` milliseconds even if the bundle never yields.
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';

let text = '';
process.stdin.setEncoding('utf8');
process.stdin.on('end', () => process.exit(1));
process.stdin.on('data', (part) => {
  const isFirst = !text.includes('\n');
  text += part;
  if (isFirst && text.includes('\n')) run(JSON.parse(text));
});

async function run({ bundle, options, marker, limit }) {
  new Worker(`setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${limit})`, { eval: true });
  try {
    const { main } = await import(pathToFileURL(bundle).href);
    const result = JSON.stringify((await main(options)) ?? null);
    process.stdout.write(`\n${marker}${result}\n`, () => process.exit(0));
  } catch (error) {
    process.stderr.write(`${error?.stack ?? error}\n`, () => process.exit(1));
  }
}
