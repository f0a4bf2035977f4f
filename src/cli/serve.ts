// tessera serve: models as programs that speak OpenAI's API know them.
import path from 'node:path';
import process from 'node:process';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { UserError } from '../io/error.ts';
import { lookUp, type ModelSource } from '../io/locate.ts';
import type { FromPretrained } from '../io/pretrained.ts';
import { statPath } from '../io/source.ts';
import { checkPort, type Models, type ServeOptions, type Server, serve } from '../serve/server.ts';
import { identify } from '../tasks/auto.ts';
import { embedder } from '../tasks/embedder.ts';
import { shipped } from '../tasks/shipped.ts';
import { type Loaded, withLoaded } from './loaded.ts';
import { count, type DeviceOptions, type HubOptions, many, whole, withDevice, withHub } from './options.ts';
import { complain, print, printJson } from './output.ts';
import { seconds } from './table.ts';
import { visible } from './text.ts';
import { DEFAULT, openWriter, WRITERS, writerOf } from './writer.ts';

type Options = DeviceOptions &
  HubOptions & {
    model?: string;
    embeddings?: string | true;
    port: number;
    apiKey?: string;
    allowOrigin?: string[];
    allowUrls?: boolean;
    allowFiles?: string;
    maxNewTokens?: number;
    maxBody: number;
    parallel: number;
    queue: number;
  };

export function addServe(program: Command): void {
  const command = program
    .command('serve')
    .description("Answers programs that speak OpenAI's API, over HTTP on this machine (127.0.0.1)")
    .option('--model <model>', `what answers, LLaMA or LLaVA: ${DEFAULT}`)
    .option(
      '--embeddings [model]',
      'a CLIP or SigLIP whose text tower embeds texts (the tessera-clip that ships); without --model nothing else is served',
    )
    .option('--port <n>', '0 takes a free one', whole(0, 65535), 8000)
    .addOption(new Option('--api-key <key>', 'what clients have to send').env('TESSERA_API_KEY'))
    .option(
      '--allow-origin <origin>',
      'pages of this origin may ask, such as http://localhost:3000; may be given many times',
      origin,
    )
    .option('--allow-urls', 'fetch pictures from the http addresses that requests name')
    .option('--allow-files <folder>', 'read pictures of this folder by file: addresses')
    .option(
      '--max-new-tokens <n>',
      "tokens of an answer at most (default: what the model's context has room for)",
      count,
    )
    .option('--max-body <MB>', 'megabytes of a request at most', count, 32)
    .option('--parallel <n>', 'requests that are computed at once, each with a cache of its own', count, 2)
    .option('--queue <n>', 'requests that wait behind them; more are told to try later (429)', whole(0, 100_000), 16);
  withDevice(withHub(command))
    .addHelpText(
      'after',
      `
  POST /v1/chat/completions   messages to an answer; with "stream": true as it comes; to LLaVA also pictures, as data: addresses
  POST /v1/embeddings         texts to rows of length 1
  GET  /v1/models

A model is called by its id, or by the name of its folder. What this server does not do (tools, n, logprobs, ...) is refused,
never left out. What a request does not say about sampling is as the model's generation_config.json has it.
Ctrl-C ends it once the answers under way are there; a second one ends these too.

Examples:
  tessera serve
  tessera serve --model HuggingFaceTB/SmolLM2-135M-Instruct
  tessera serve --model ./SmolLM2-135M-Instruct --embeddings --port 8080
  OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none python my-program.py`,
    )
    .action(serveCommand);
}

async function serveCommand(options: Options): Promise<void> {
  const { embeddings, allowFiles, json } = options;
  if (allowFiles !== undefined && !(await statPath(allowFiles))?.isDirectory()) {
    throw new UserError(`[${allowFiles}] no such folder: want one with pictures`);
  }
  await checkPort(options.port);
  const clip = embeddings === true ? await shipped('tessera-clip') : embeddings;
  const model = options.model === undefined && clip !== undefined ? undefined : await writerOf(options);
  const first = (model ?? clip)!;
  const second = model === undefined || clip === undefined ? undefined : await lookUp(clip);
  if (second) await identify(second); // mistakes come out before anything is loaded
  const open = async (from: ModelSource, source: FromPretrained) => {
    const { device, dtype, progress_callback } = source; // --revision and its kin are of the first
    const chat = model === undefined ? undefined : await openWriter(from, source);
    const alone = model === undefined ? await embedder(from, 'texts', source) : undefined;
    const embed = second ? await embedder(second, 'texts', { device, dtype, progress_callback }) : alone;
    const { model: shown, model_type } = (chat ?? embed)!;
    const dispose = () => {
      for (const task of [chat, embed]) task?.dispose();
    };
    return { model: shown, model_type, chat, embed, [Symbol.dispose]: dispose };
  };
  const work = async ({ task: { chat, embed }, where, about }: Loaded<Awaited<ReturnType<typeof open>>>) => {
    const models: Models = {
      chat: chat && { id: await idOf(model!), task: chat },
      embeddings: embed && { id: await idOf(clip!), task: embed },
    };
    const { port, apiKey, allowOrigin: origins = [], allowUrls = false, maxNewTokens, parallel, queue } = options;
    const server = await serve(models, {
      ...{ port, apiKey, origins, parallel, queue, allowUrls, allowFiles, maxBody: options.maxBody * 2 ** 20 },
      ...(maxNewTokens !== undefined && { maxNewTokens }),
      ...(!json && { on_request: log }),
    });
    const names = Object.values(models).flatMap((one) => one?.id ?? []);
    if (json) printJson({ command: 'serve', ...about, url: `${server.url}/v1`, models: names });
    else print(`${names.map(visible).join(' and ')} on ${where}, at ${server.url}/v1 - Ctrl-C ends it`);
    await untilStopped(server, json);
  };
  await withLoaded(first, options, open, work, model === undefined ? undefined : WRITERS);
}

const log: ServeOptions['on_request'] = ({ method, path, status, ms }) =>
  complain(`${method} ${path} ${status} ${seconds(ms)}`);

/** Until it is told to stop: once for an end in order, twice for one now. */
async function untilStopped(server: Server, json = false): Promise<void> {
  let times = 0;
  const stop = () => {
    if (times === 0 && !json) complain('ends once the answers under way are there; again to end these too');
    void server.close(times++ > 0);
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, stop);
  await server.closed;
  for (const signal of signals) process.off(signal, stop);
}

/** An id of the hub, or the name of a folder. */
const idOf = async (model: string) => ((await statPath(model)) ? path.basename(path.resolve(model)) : model);

/** An option's value that is the origin of pages, as a browser says it. */
function origin(text: string, before?: readonly string[]): string[] {
  const found = URL.canParse(text) ? new URL(text).origin : 'null';
  if (found !== 'null' && found === text.replace(/\/$/, '')) return many(found, before);
  throw new InvalidArgumentError('Want http://NAME:PORT, or https.');
}
