// tessera generate: what follows a prompt.
import process from 'node:process';
import { type Command, Option } from 'commander';
import { UserError } from '../io/error.ts';
import { CAUSAL_LM } from '../tasks/auto.ts';
import type { TextOptions } from '../tasks/session.ts';
import { type TextGenerator, textGeneration } from '../tasks/text-generation.ts';
import { type Loaded, withLoaded } from './loaded.ts';
import { amount, count, type DeviceOptions, type HubOptions, many, withDevice, withHub } from './options.ts';
import { print, printJson, write } from './output.ts';
import { paint, terminalOf } from './terminal.ts';
import { visibleLines } from './text.ts';

export type TextArguments = DeviceOptions &
  HubOptions & {
    model: string;
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
        .addOption(
          new Option('--model <model>', 'a LLaMA folder, or its id on the Hugging Face hub').makeOptionMandatory(),
        )
        .option('--greedy', 'the likeliest token each time (default: what generation_config.json says)')
        .option('--max-new-tokens <n>', 'tokens at most (256)', count)
        .option('--temperature <t>', 'draw tokens: below 1 more of the likely ones, above 1 fewer', amount)
        .option('--top-k <k>', 'draw from the k likeliest tokens', amount)
        .option('--top-p <p>', 'draw from the fewest tokens that have this probability together', amount)
        .option('--min-p <p>', 'draw from tokens with this share of the probability of the likeliest', amount)
        .option('--repetition-penalty <r>', 'above 1: tokens that were there become less likely', amount)
        .option('--seed <n>', 'the same tokens again', amount)
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

/** Runs `work` with a generator; afterwards nothing of it is left on the device. */
export const withGenerator = (options: TextArguments, work: (loaded: Loaded<TextGenerator>) => Promise<void>) =>
  withLoaded(options.model, options, textGeneration, work, CAUSAL_LM);

export function addGenerate(program: Command): void {
  const command = program
    .command('generate')
    .description('Goes on from a prompt, or answers it (LLaMA and models of its kind)')
    .requiredOption('--prompt <text>', 'what to answer, by the chat template of the model')
    .option('--raw', 'go on from the prompt as it is, without a chat template')
    .addHelpText(
      'after',
      `
Examples:
  tessera generate --model ./SmolLM2-135M-Instruct --prompt "What is the capital of Japan?"
  tessera generate --model ./SmolLM2-135M-Instruct --prompt "Once upon a time" --raw --temperature 0.8 --seed 1
  tessera generate --model ./SmolLM2-135M-Instruct --prompt "1, 2, 3," --raw --greedy --max-new-tokens 8 --json`,
    );
  withText(command).action(generate);
}

async function generate(options: TextArguments & { prompt: string; raw?: boolean }): Promise<void> {
  const told = textOptions(options);
  if (options.prompt === '') throw new UserError('[generate] --prompt: got nothing, want a text');
  await withGenerator(options, async ({ task, about, where, load }) => {
    const { prompt } = options;
    const input = options.raw ? prompt : [{ role: 'user', content: prompt }];
    using session = task.session();
    for await (const piece of session.stream(input, told)) if (!options.json) write(visibleLines(piece));
    const { text, ids, prompt_ids, finish_reason, stats } = session.last!;
    if (options.json) {
      const times = { ...stats, load_ms: Math.round(load) };
      return printJson({ command: 'generate', ...about, prompt_ids, ids, text, finish_reason, stats: times });
    }
    print('');
    const terminal = terminalOf(process.stdout, process.env);
    if (terminal.colour) print(paint(terminal, 'dim', `${statsLine(stats)}, ${where}`));
  });
}

type Stats = NonNullable<ReturnType<TextGenerator['session']>['last']>['stats'];

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
  return `${prompt_tokens} tokens${reused}, first of ${new_tokens} after ${(first_token_ms / 1000).toFixed(2)} s${speed}`;
}
