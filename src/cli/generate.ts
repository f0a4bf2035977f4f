// tessera generate: what follows a prompt.
import process from 'node:process';
import type { Command } from 'commander';
import { UserError } from '../io/error.ts';
import { IMAGE_TEXT_TO_TEXT } from '../tasks/auto.ts';
import { checkPath } from '../tasks/load-image.ts';
import type { Answer, TextOptions } from '../tasks/session.ts';
import type { Loaded } from './loaded.ts';
import { amount, count, type DeviceOptions, type HubOptions, many, whole, withDevice, withHub } from './options.ts';
import { print, printJson, write } from './output.ts';
import { seconds } from './table.ts';
import { paint, terminalOf } from './terminal.ts';
import { visibleLines } from './text.ts';
import { DEFAULT, sessionOf, type Writer, withWriter } from './writer.ts';

export type TextArguments = DeviceOptions &
  HubOptions & {
    model?: string;
    greedy?: boolean;
    maxNewTokens?: number;
    seed?: number;
    temperature?: number;
    topK?: number;
    topP?: number;
    minP?: number;
    repetitionPenalty?: number;
    stop?: string[];
    truncate?: boolean;
    ignoreEos?: boolean;
  };

/** The options of a command that writes text. */
export function withText(command: Command): Command {
  return withDevice(
    withHub(
      command
        .option('--model <model>', DEFAULT)
        .option('--greedy', 'the likeliest token each time (default: what generation_config.json says)')
        .option('--max-new-tokens <n>', 'tokens at most (256)', count)
        .option('--temperature <t>', 'draw tokens: below 1 more of the likely ones, above 1 fewer', amount)
        .option('--top-k <k>', 'draw from the k likeliest tokens; 0: from all', whole(0))
        .option('--top-p <p>', 'draw from the fewest tokens that have this probability together', amount)
        .option('--min-p <p>', 'draw from tokens with this share of the probability of the likeliest', amount)
        .option('--repetition-penalty <r>', 'above 1: tokens that were there become less likely', amount)
        .option('--seed <n>', 'the same tokens again', whole(0))
        .option('--stop <text>', 'end before this text; may be given many times', many)
        .option('--ignore-eos', 'go on where the model would end')
        .option('--truncate', "drop the beginning of a prompt that is longer than the model's context"),
    ),
  );
}

/** What `generate` is told: what is not given is left to the model's generation_config.json. */
export function textOptions(o: TextArguments): TextOptions {
  const draws = [o.temperature, o.topK, o.topP, o.minP, o.seed].some((v) => v !== undefined);
  if (o.greedy && draws)
    throw new UserError('[generate] --greedy: got options of sampling beside it, want one or the other');
  return {
    ...{ max_new_tokens: o.maxNewTokens, temperature: o.temperature, top_k: o.topK, top_p: o.topP, min_p: o.minP },
    ...{ repetition_penalty: o.repetitionPenalty, seed: o.seed, stop: o.stop, truncation: o.truncate === true },
    ...(o.greedy && { do_sample: false }),
    ...(draws && { do_sample: true }),
    ...(o.ignoreEos && { eos_token_id: [] }),
  };
}

export function addGenerate(program: Command): void {
  const command = program
    .command('generate')
    .description('Goes on from a prompt, or answers it (LLaMA; LLaVA, about pictures too)')
    .requiredOption('--prompt <text>', 'what to answer, by the chat template of the model')
    .option('--image <file>', 'a picture that the prompt is about; may be given many times', many)
    .option('--raw', 'go on from the prompt as it is, without a chat template; with an <image> for each picture')
    .addHelpText(
      'after',
      `
Examples:
  tessera generate --model ./SmolLM2-135M-Instruct --prompt "What is the capital of Japan?"
  tessera generate --model ./SmolLM2-135M-Instruct --prompt "Once upon a time" --raw --temperature 0.8 --seed 1
  tessera generate --model ./SmolLM2-135M-Instruct --prompt "1, 2, 3," --raw --greedy --max-new-tokens 8 --json
  tessera generate --image a.png --image b.png --prompt "which picture shows more things?"`,
    );
  withText(command).action(generate);
}

type Options = TextArguments & { prompt: string; raw?: boolean; image?: string[] };
async function generate(options: Options): Promise<void> {
  const told = textOptions(options);
  if (options.prompt === '') throw new UserError('[generate] --prompt: got nothing, want a text');
  const { prompt, image: images = [] } = options;
  for (const picture of images) await checkPath(picture);
  const work = async ({ task, about, where, load }: Loaded<Writer>) => {
    const parts = images.map((image) => ({ type: 'image' as const, image }));
    const content = images.length > 0 ? [...parts, { type: 'text' as const, text: prompt }] : prompt;
    const raw = images.length > 0 ? { text: prompt, images } : prompt;
    using session = sessionOf(task);
    const input = options.raw ? raw : [{ role: 'user', content }];
    for await (const piece of shown(session.stream(input, told), !options.raw)) if (!options.json) write(piece);
    const { text, ids, prompt_ids, finish_reason, stats } = session.last!;
    if (options.json) {
      const times = { ...stats, load_ms: Math.round(load) };
      return printJson({ command: 'generate', ...about, prompt_ids, ids, text, finish_reason, stats: times });
    }
    print('');
    const terminal = terminalOf(process.stdout, process.env);
    if (terminal.colour) print(paint(terminal, 'dim', `${statsLine(stats)}, ${where}`));
  };
  await withWriter(options, work, images.length > 0 ? IMAGE_TEXT_TO_TEXT : undefined);
}

type Stats = Answer['stats'];

/** A text as a terminal shows it while it comes; an answer without the space that tokens of a first word have. */
export async function* shown(pieces: AsyncIterable<string>, isAnswer = true): AsyncGenerator<string> {
  let isBegun = !isAnswer;
  for await (const piece of pieces) {
    const said: string = isBegun ? piece : piece.trimStart();
    isBegun ||= said !== '';
    yield visibleLines(said);
  }
}

/** How fast it went, in words. */
export function statsLine({
  prompt_tokens,
  reused_tokens,
  new_tokens,
  first_token_ms,
  tokens_per_second,
}: Stats): string {
  const reused = reused_tokens > 0 ? ` (${reused_tokens} known)` : '';
  const speed = tokens_per_second > 0 ? `, ${tokens_per_second.toFixed(1)} tokens/s` : '';
  return `${prompt_tokens} tokens${reused}, first of ${new_tokens} after ${seconds(first_token_ms)}${speed}`;
}
