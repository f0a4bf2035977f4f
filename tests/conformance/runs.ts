// Runs the suite's bundle in runtimes, a few at a time.
import { type Bundles, bundle } from '../runtimes/bundle.ts';
import { type Launch, type Runtime, runIn } from '../runtimes/launch.ts';
import type { Run } from './compare.ts';
import type { Options, Report } from './suite.ts';

export type Wanted = { label: string; runtime: Runtime; options?: Options; launch?: Launch };

const AT_ONCE = 2; // software adapters use every core
const LIMIT = { short: 600_000, full: 3_600_000 }; // milliseconds of one run, on a busy machine too

/** Each wanted run in order; one that fails has its reason in place of a report. */
export async function runAll(wanted: readonly Wanted[]): Promise<Run[]> {
  const bundles = await bundle('tests/conformance/suite.ts');
  const runs: Run[] = [];
  const queue = [...wanted.entries()];
  const work = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) runs[next[0]] = await runOne(bundles, next[1]);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return runs;
}

async function runOne(bundles: Bundles, { label, runtime, options = {}, launch }: Wanted): Promise<Run> {
  try {
    const report = await runIn(runtime, bundles, options, {
      timeout: options.full ? LIMIT.full : LIMIT.short,
      ...launch,
    });
    return { label, report: report as unknown as Report };
  } catch (error) {
    return { label, error: (error as Error).message };
  }
}
