// npm run bench: the command.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { arch, cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cases } from './cases.ts';
import { compare, PEERS_MISSING, peersInstalled } from './compare.ts';
import type { Row } from './harness.ts';
import { language, languageLine } from './language.ts';
import { load, loadLine } from './load.ts';
import { toJson } from './report.ts';

const USAGE = `usage: npm run bench -- [kernels|models|peers|language|load] [--filter TEXT] [--adapter NAME] [--quick] [--model FOLDER] [--save] [--against FILE] [--json]
  kernels    every kernel at the shapes of real models, as GFLOP/s, GB/s and percent of what probes reach (default)
  models     CLIP, a block of LLaMA, parts of diffusion models, all with random weights
  peers      both, beside jax-js, TensorFlow.js and onnxruntime-node on the same adapter; first: npm ci --prefix bench/peers
  language   a LLaMA in f32, f16, q8 and q4: prompts, tokens, bytes, and our own share of a step
  load       a checkpoint of 600 MB from disk to the device
  --filter   only rows whose 'kernel shape' matches this regular expression: gemm, 'conv3x3 1x64', '^(?!clip)'
  --adapter  software, lavapipe, gpu, or part of an adapter's name (default: TESSERA_ADAPTER, else a GPU, else software)
  --model    for language: a checkpoint (default: random weights of the shape of SmolLM2-135M)
  --quick    one try of three rounds
  --save     also writes bench/results/SUITE-ADAPTER-DATE.json, as each row or round comes
  --against  shows a saved result beside this one
  --json     the result as JSON, and nothing else on stdout

How: each side is a process. A sample is as many calls as take 50 ms, one after the other on inputs that rotate past the
caches, then one wait for the queue in the side's own way; results are not read. Sides take turns in up to 7 rounds, and so
do the probes; figures are medians. A result is compared with float64, and with ours, before it is timed. Where half of
the samples spread over more than 15 % of the median in three tries, the row is unstable. docs/performance.md says more.`;

const SUITES = ['kernels', 'models', 'peers', 'language', 'load'] as const;
const isTimed = (suite: string): suite is TimedSuite => suite !== 'load' && suite !== 'language';
type Suite = (typeof SUITES)[number];
type TimedSuite = Exclude<Suite, 'load' | 'language'>;
type Options = {
  suite: Suite;
  filter: string;
  adapter: string;
  model: string | undefined;
  quick: boolean;
  save: boolean;
  against: string | undefined;
  json: boolean;
};

class UsageError extends Error {}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

function read(argv: string[]): Options {
  const [text, flag] = [{ type: 'string' }, { type: 'boolean', default: false }] as const;
  const flags = { quick: flag, save: flag, json: flag, help: { ...flag, short: 'h' } } as const;
  const options = { filter: text, adapter: text, against: text, model: text, ...flags } as const;
  let parsed: ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ args: argv, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  if (values.help) throw new UsageError('');
  const [suite = 'kernels', ...rest] = positionals;
  if (rest.length > 0 || !(SUITES as readonly string[]).includes(suite)) {
    throw new UsageError(`got ${positionals.join(' ')}, want one of ${SUITES.join(', ')}`);
  }
  const { filter = '', adapter = process.env.TESSERA_ADAPTER ?? 'auto', against, model, quick, save, json } = values;
  try {
    new RegExp(filter);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (isTimed(suite) && cases(suite, filter).length === 0) {
    throw new UsageError(`no row of ${suite} matches '${filter}'`);
  }
  if (model !== undefined && suite !== 'language') throw new UsageError('--model is for the suite language');
  return { suite: suite as Suite, filter, adapter, model, quick, save, against, json };
}

/** Runs the command with the given arguments; `bundles` is the folder of the processes it starts. Gives its exit code. */
export async function main(argv: string[], bundles: string): Promise<number> {
  try {
    return await bench(read(argv), bundles);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message ? `${error.message}\n` : ''}${USAGE}\n`);
    return error.message ? 2 : 0;
  }
}

async function bench({ suite, ...options }: Options, bundles: string): Promise<number> {
  const { adapter, quick, json } = options;
  if (suite === 'peers' && !peersInstalled(here('peers/node_modules'))) {
    process.stderr.write(`${PEERS_MISSING}\n`);
    return 2;
  }
  const say = (text: string) => (json ? process.stderr : process.stdout).write(`${text}\n`);
  const about = { suite, date: new Date().toISOString().slice(0, 10), machine: machine() };
  const keep = async (found: Found) => {
    if (options.save) await save({ ...found, ...about });
  };
  let found: Found;
  if (suite === 'load') {
    const loaded = await load(bundles, adapter, quick);
    for (const row of loaded.rows) say(loadLine(row));
    found = loaded;
  } else if (suite === 'language') {
    const spoken = await language(bundles, adapter, options, keep);
    for (const row of spoken.rows) say(languageLine(row));
    found = spoken;
  } else {
    const old = options.against ? (JSON.parse(await readFile(options.against, 'utf8')).rows as Row[]) : undefined;
    found = await compare({ suite, ...options, old }, bundles, say, keep);
  }
  const report = { ...found, ...about };
  if (json) process.stdout.write(`${toJson(report)}\n`);
  if (options.save) say(`saved ${await save(report)}`);
  return report.rows.every(({ ours_us }) => ours_us !== null) ? 0 : 1;
}

const machine = () => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memory_gb: Math.round(totalmem() / 2 ** 30),
  system: `${process.platform} ${arch()}`,
  node: process.version,
});

type Named = { kernel: string; shape: string; dtype: string };
type Found = { adapter: string; rows: readonly ({ ours_us: number | null } & Named)[] };
const nameOf = ({ kernel, shape, dtype }: Named) => `${kernel} ${shape} ${dtype}`;

/** The suite, the adapter and the date name the file. Rows of it that this run did not make stay: a filter makes a part of a table. */
async function save(report: { suite: string; adapter: string; date: string; rows: readonly Named[] }): Promise<string> {
  await mkdir(here('results'), { recursive: true });
  const name = `${report.suite}-${report.adapter.toLowerCase().replace(/[^a-z0-9]+/g, '-')}-${report.date}.json`;
  const file = here(`results/${name}`);
  const known: Named[] = existsSync(file) ? JSON.parse(await readFile(file, 'utf8')).rows : [];
  const made = new Set(report.rows.map(nameOf));
  const rows = [...(report.suite === 'load' ? [] : known.filter((row) => !made.has(nameOf(row)))), ...report.rows];
  const draft = `${file}.${process.pid}`; // a run may be cut at any time
  await writeFile(draft, `${JSON.stringify(JSON.parse(toJson({ ...report, rows })), null, 1)}\n`);
  await rename(draft, file);
  return `bench/results/${name}`;
}
