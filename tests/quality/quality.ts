// npm run quality -- FOLDER: a real LLaMA, held against what transformers computed of it and against itself quantised.
// Exit code 0: all of it is within the bounds below; 1: something is not; 2: there is no model.
import { readFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { execute } from '../../src/cli/execute.ts';
import { adapterOption } from '../../src/cli/options.ts';
import { complain, print, printJson } from '../../src/cli/output.ts';
import { AutoModelForCausalLM, AutoTokenizer, run, setDevice, tensor } from '../../src/index.ts';
import type { WeightType } from '../../src/io/weight-type.ts';
import { KVCache } from '../../src/nn/kv-cache.ts';

const ABOUT = `A real LLaMA, held against what transformers computed of it and against itself quantised.
f32: the greedy tokens of two prompts, and the logits of the first, are those of transformers (smollm2.json).
Others: over all of text.txt (2037 positions), teacher-forced, the likeliest token is that of f32 so often, and the perplexity
is so many times that of f32.`;

/** Least share of equal likeliest tokens, most of perplexity by that of f32. */
const BOUNDS: Record<string, { agreement: number; perplexity: number }> = {
  f16: { agreement: 0.99, perplexity: 1.001 },
  q8: { agreement: 0.95, perplexity: 1.01 },
  q4: { agreement: 0.85, perplexity: Number.POSITIVE_INFINITY },
};
const PIECE = 256;

type Model = Awaited<ReturnType<typeof AutoModelForCausalLM.from_pretrained>>;
type Reference = {
  prompt: string;
  prompt_ids: number[];
  greedy_ids: number[];
  logits_top10: { ids: number[]; values: number[] };
};
type Forced = { likeliest: number[]; perplexity: number };
const beside = (name: string) => readFile(new URL(`../../tests/quality/${name}`, import.meta.url), 'utf8'); // bundles lie two folders deep too

type Options = { adapter: string; dtype: WeightType[]; json?: boolean };

/** The command line of it; gives its exit code. */
export function quality(argv: readonly string[]): Promise<number> {
  const program = new Command('npm run quality --')
    .description(ABOUT)
    .argument('<folder>', 'SmolLM2-135M-Instruct as weights/recipes/smollm2.py writes it')
    .addOption(adapterOption().default('software'))
    .addOption(new Option('--dtype <type...>', 'beside f32').choices(Object.keys(BOUNDS)).default(['q8', 'q4']))
    .option('--json', 'the result as JSON, and nothing else on stdout')
    .action(compare);
  return execute(program, argv);
}

async function compare(folder: string, options: Options): Promise<void> {
  const say = options.json ? complain : print;
  const { adapter } = await setDevice({ adapter: options.adapter });
  say(`${folder} on ${adapter.name}`);
  const tokenizer = await AutoTokenizer.from_pretrained(folder);
  const ids = tokenizer.encode(await beside('text.txt'));
  const { cases } = JSON.parse(await beside('smollm2.json')) as { cases: Reference[] };

  using f32 = await AutoModelForCausalLM.from_pretrained(folder);
  const greedy = [];
  for (const reference of cases) {
    const same_prompt = tokenizer.encode(reference.prompt).join() === reference.prompt_ids.join();
    const found = await tokensOf(f32, reference);
    const equal = found.tokens.filter((id, i) => id === reference.greedy_ids[i]).length;
    const result = { same_prompt, tokens: reference.greedy_ids.length, equal, logits: found.deviation };
    greedy.push({ ...result, ok: same_prompt && equal === result.tokens && found.deviation < 2e-4 });
    say(`f32  ${equal} of ${result.tokens} greedy tokens equal; logits within ${found.deviation.toExponential(1)}`);
  }
  const want = await teacherForced(f32, ids);
  say(`f32  perplexity ${want.perplexity.toFixed(3)} of ${want.likeliest.length} positions`);
  const kept = [];
  for (const dtype of options.dtype) {
    using model = await AutoModelForCausalLM.from_pretrained(folder, { dtype });
    const { likeliest, perplexity } = await teacherForced(model, ids);
    const equal = likeliest.filter((id, i) => id === want.likeliest[i]).length;
    const [agreement, ratio] = [equal / likeliest.length, perplexity / want.perplexity];
    const bounds = BOUNDS[dtype]!;
    kept.push({ dtype, agreement, ratio, ok: agreement >= bounds.agreement && ratio <= bounds.perplexity });
    say(`${dtype.padEnd(4)} likeliest token equal ${(100 * agreement).toFixed(1)} %, perplexity x ${ratio.toFixed(4)}`);
  }
  const result = { adapter: adapter.name, greedy, perplexity: want.perplexity, kept };
  if (options.json) printJson(result);
  if (![...greedy, ...kept].every(({ ok }) => ok)) throw new Error('[quality] not all of it is within the bounds');
}

/** Greedy tokens, and how far the first ten logits are off, by the largest. */
async function tokensOf(model: Model, { prompt_ids, greedy_ids, logits_top10 }: Reference) {
  const max_new_tokens = greedy_ids.length;
  const { sequences, logits } = await model.generate({
    ...{ input_ids: [prompt_ids], max_new_tokens, do_sample: false, eos_token_id: [] },
    ...{ output_logits: true, return_dict_in_generate: true },
  });
  const first = await logits!.select(1, 0).data();
  logits!.dispose();
  const off = logits_top10.ids.map((id, i) => Math.abs(first[id]! - logits_top10.values[i]!));
  const tokens = Array.from(await sequences.data()).slice(prompt_ids.length);
  return { tokens, deviation: Math.max(...off) / logits_top10.values[0]! };
}

/** The likeliest token at each position of a text, and the perplexity of those that are there. */
async function teacherForced(model: Model, ids: readonly number[]): Promise<Forced> {
  const n = ids.length - 1;
  using cache = await KVCache.empty(model.sizes, 1, n);
  const likeliest: number[] = [];
  let loss = 0;
  for (let at = 0; at < n; at += PIECE) {
    const end = Math.min(at + PIECE, n);
    const input_ids = tensor(ids.slice(at, end), [1, end - at], { dtype: 'i32' });
    const { logits } = model.forward({ input_ids, past_key_values: cache });
    const rows = logits.reshape([end - at, -1]);
    const next = tensor(ids.slice(at + 1, end + 1), [end - at, 1], { dtype: 'i32' });
    using best = rows.argmax(-1);
    using log_p = rows.log_softmax(-1).gather(1, next);
    await run([best, log_p, ...cache.tensors]);
    cache.length = end;
    likeliest.push(...(await best.data()));
    for (const v of await log_p.data()) loss -= v;
  }
  return { likeliest, perplexity: Math.exp(loss / n) };
}
