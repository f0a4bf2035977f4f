// npm run goldens -- FOLDER: runs the golden cases of a folder, in any runtime. Exit code 0: every output is ok;
// 1: one is off or missing; 2: there is nothing to run.
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { bundle } from '../runtimes/bundle.ts';
import { closeBrowsers, RUNTIMES, type Runtime, runIn } from '../runtimes/launch.ts';
import { openCase, type Place } from './files.ts';
import { type Golden, noGolden, readGolden } from './golden.ts';
import { allMissing, caseText, isGood, type Report, summaryText } from './report.ts';
import { filesBelow, serveFolder } from './serve.ts';

const USAGE = `usage: npm run goldens -- FOLDER [--only 'clip*'] [--runtime NAME] [--adapter NAME] [--json]
  FOLDER     a folder of golden cases, or one case
  --only     cases whose name fits; * stands for any text
  --runtime  node (default), bun, deno (its own WebGPU), deno-dawn (npm webgpu), chromium, chromium-worker
  --adapter  software (default, or TESSERA_ADAPTER), gpu, or part of an adapter's name
  --json     the result as JSON, and nothing else on stdout`;

/** Milliseconds for a case among others, and how many times that for one alone. */
const LIMIT = 60_000;
const ALONE = 10;

class UsageError extends Error {}

/** Runs the command with the given arguments; gives its exit code. */
export async function goldens(
  argv: string[],
  print: (text: string) => void = (text) => process.stdout.write(`${text}\n`),
) {
  try {
    const options = read(argv);
    const cases = await findCases(options.folder, options.only);
    const reports = await runAll(cases, options);
    print(
      options.json ? JSON.stringify({ cases: reports }) : [...reports.map(caseText), summaryText(reports)].join('\n'),
    );
    return reports.every(isGood) ? 0 : 1;
  } catch (error) {
    const isUsage = error instanceof UsageError;
    process.stderr.write(`${isUsage ? `${error.message}\n${USAGE}` : (error as Error).stack}\n`);
    return 2;
  }
}

type Options = { folder: string; only: string[]; runtime: Runtime; adapter: string; json: boolean };

function read(argv: string[]): Options {
  const text = { type: 'string' } as const;
  const options = {
    only: { ...text, multiple: true },
    runtime: text,
    adapter: text,
    json: { type: 'boolean' },
  } as const;
  let parsed: ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>>;
  try {
    parsed = parseArgs({ args: argv, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  if (positionals.length !== 1) throw new UsageError(`got ${positionals.length} folders, want one`);
  const runtime = values.runtime === 'chromium' ? 'chromium-page' : (values.runtime ?? 'node');
  if (!(RUNTIMES as readonly string[]).includes(runtime)) throw new UsageError(`no runtime ${runtime}`);
  return {
    folder: path.resolve(positionals[0]!),
    only: values.only ?? ['*'],
    runtime: runtime as Runtime,
    adapter: values.adapter ?? process.env.TESSERA_ADAPTER ?? 'software',
    json: values.json ?? false,
  };
}

/** Paths of the cases: the folder itself, or the folders in it that hold a golden.json. */
async function findCases(folder: string, only: readonly string[]): Promise<string[]> {
  const isCase = async (at: string) =>
    (await stat(path.join(at, 'golden.json')).catch(() => undefined))?.isFile() ?? false;
  const names = await readdir(folder).catch(() => {
    throw new UsageError(`no folder ${folder}`);
  });
  const all = (await isCase(folder)) ? [folder] : names.sort().map((name) => path.join(folder, name));
  const fits = only.map((glob) => new RegExp(`^${glob.replace(/[^\w*-]/g, '\\$&').replaceAll('*', '.*')}$`, 's'));
  const chosen = all.filter((at) => fits.some((fit) => fit.test(path.basename(at))));
  const found = (await Promise.all(chosen.map(async (at) => ((await isCase(at)) ? [at] : [])))).flat();
  if (found.length === 0) throw new UsageError(`no golden case ${only.join(', ')} in ${folder}`);
  return found;
}

/** All cases in one process or page, so that they share compiled kernels; each alone when that came to grief. */
async function runAll(cases: readonly string[], { runtime, adapter }: Options): Promise<Report[]> {
  const bundles = await bundle('tests/goldens/goldens.ts');
  const server = runtime.startsWith('chromium') ? await serveFolder(path.dirname(cases[0]!)) : undefined;
  const placeOf = async (folder: string): Promise<Place> => {
    if (!server) return { path: folder };
    return { url: `${server.url}/${encodeURIComponent(path.basename(folder))}`, names: await filesBelow(folder) };
  };
  const launch = async (folders: readonly string[], timeout: number): Promise<Report[]> => {
    const places = await Promise.all(folders.map(placeOf));
    return (await runIn(runtime, bundles, { places }, { adapter, timeout })) as unknown as Report[];
  };
  try {
    return await launch(cases, (1 + cases.length) * LIMIT);
  } catch {
    const reports: Report[] = [];
    for (const folder of cases) {
      const broken = async ({ message }: Error) => [allMissing(await openGolden(folder), message)];
      reports.push(...(await launch([folder], ALONE * LIMIT).catch(broken)));
    }
    return reports;
  } finally {
    await server?.close();
    await closeBrowsers();
  }
}

const openGolden = (folder: string): Promise<Golden> =>
  readGolden(openCase({ path: folder })).catch(() => noGolden(path.basename(folder)));
