// A server of tiny models, and ways to ask it that a proper client does not have.
import { connect } from 'node:net';
import OpenAI from 'openai';
import { expect } from 'vitest';
import { defaultDevice, pipeline, trim } from '../../src/index.ts';
import { type Models, type ServeOptions, type Server, serve } from '../../src/serve/server.ts';
import { type Embedder, embedder } from '../../src/tasks/embedder.ts';
import { chatFolder, llavaFolder, tinyFolder } from '../tasks/support.ts';

export type Served<T> = { server: Server; client: OpenAI; task: T; embed: Embedder } & AsyncDisposable;

/** Serves a task as tiny/model, and the text tower of a tiny CLIP; whatever goes on, nothing of them stays. */
async function open<T extends NonNullable<Models['chat']>['task']>(task: T, options: ServeOptions): Promise<Served<T>> {
  const embed = await embedder(tinyFolder('clip'), 'texts');
  const leave = () => {
    task.dispose();
    embed.dispose();
  };
  const models = { chat: { id: 'tiny/model', task }, embeddings: { id: 'tiny-clip', task: embed } };
  const server = await serve(models, { port: 0, ...options }).catch((error) => {
    leave();
    throw error;
  });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: options.apiKey ?? 'none', maxRetries: 0 });
  const dispose = async () => {
    await server.close(true);
    leave();
  };
  return { server, client, task, embed, [Symbol.asyncDispose]: dispose };
}
export const openText = async (options: ServeOptions = {}) =>
  open(await pipeline('text-generation', chatFolder()), options);
export const openVision = async (options: ServeOptions = {}) =>
  open(await pipeline('image-text-to-text', llavaFolder()), options);

/** What the client throws. */
export async function refusal(work: Promise<unknown>) {
  const error: unknown = await work.catch((error) => error);
  if (error instanceof OpenAI.APIError) return error;
  throw new Error('want a refusal', { cause: error });
}

/** Buffers in use on the device, once plans and what waits are gone. */
export async function live(): Promise<number> {
  const device = await defaultDevice();
  await trim(device);
  return device.pool.stats.live;
}

/** Waits for what comes soon after: the end of a request is told to its client first. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400 && !(await holds()); i++) await new Promise((done) => setTimeout(done, 25));
  expect(await holds()).toBe(true);
}

/** Milliseconds: a space more at each, or none any more and the connection closed. */
type Manner = { every?: number; leaveAfter?: number };

/** Bytes as they are, over a connection of their own: what comes back until it is closed. */
export function raw(url: string, send: string | Uint8Array, { every, leaveAfter }: Manner = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(send));
    const drip = every === undefined ? undefined : setInterval(() => socket.write(' '), every);
    if (leaveAfter !== undefined) setTimeout(() => socket.destroy(), leaveAfter);
    let got = '';
    socket.setEncoding('utf8').on('data', (piece) => {
      got += piece;
    });
    const end = () => {
      clearInterval(drip);
      resolve(got);
    };
    socket.on('error', (error) => (got ? end() : reject(error))).on('close', end); // who still sends is cut off in the end
  });
}

/** The body of an answer that came over `raw`. */
export const bodyOf = (answer: string): unknown => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
