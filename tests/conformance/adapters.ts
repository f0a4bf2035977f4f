// The conformance suite on every adapter that is installed: in Node (Dawn) and in Deno (its own wgpu). Software adapters
// must have equal bits, each other adapter the same bits in both, and how far those are from the software's is printed.
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Launch } from '../runtimes/launch.ts';
import { compare, largestDifferences, type Run, tableText } from './compare.ts';
import { runAll } from './runs.ts';

type Adapter = { name: string; launch: Launch };

const RUNTIMES = ['node', 'deno'] as const;
/** Where Vulkan loaders look for drivers on Linux. */
const DRIVERS = ['/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/etc/vulkan/icd.d'];

/** Returns the exit code: 1 when anything failed to run, is wrong, or has other bits than it must. */
export async function main(args: readonly string[]): Promise<number> {
  const full = args.includes('--full');
  const software = [{ name: 'swiftshader', launch: { adapter: 'swiftshader' } }, ...lavapipe()];
  const gpus = await findGpus();
  if (software.length === 1) console.log('lavapipe is not installed (Debian: mesa-vulkan-drivers)');
  if (gpus.length === 0) console.log('no GPU is installed');
  const runs = await runsOn(software, full);
  let isGood = report(runs);
  for (const gpu of gpus) {
    const own = await runsOn([gpu], full);
    isGood = report(own) && isGood;
    if (runs[0]!.report && own[0]!.report) console.log(`${largestDifferences(runs[0]!.report, own[0]!.report)}\n`);
  }
  return isGood ? 0 : 1;
}

const runsOn = (adapters: readonly Adapter[], full: boolean): Promise<Run[]> =>
  runAll(
    adapters.flatMap(({ name, launch }) =>
      RUNTIMES.map((runtime) => ({ label: `${runtime} ${name}`, runtime, options: { full, keep: true }, launch })),
    ),
  );

function report(runs: readonly Run[]): boolean {
  const comparison = compare(runs);
  console.log(`${tableText(runs, comparison)}\n`);
  return [comparison.failed, comparison.wrong, comparison.unequal].every((list) => list.length === 0);
}

/** Mesa's rasteriser, where its driver's description is. */
function lavapipe(): Adapter[] {
  const found = DRIVERS.flatMap((folder) => list(folder).map((name) => `${folder}/${name}`));
  const files = found.filter((file) => /\/lvp_icd[^/]*\.json$/.test(file)).join(':'); // of other machines too: the loader skips them
  if (!files) return [];
  const env = {
    VK_ICD_FILENAMES: files, // older loaders know this name only
    VK_DRIVER_FILES: files,
    XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir(),
  };
  return [{ name: 'lavapipe', launch: { adapter: 'lavapipe', env } }];
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** The GPU that Node finds. */
async function findGpus(): Promise<Adapter[]> {
  const launch = { adapter: 'gpu' };
  const [probe] = await runAll([{ label: 'gpu', runtime: 'node', options: { groups: [] }, launch }]);
  if (probe!.report) return [{ name: probe!.report.adapter, launch }];
  if (probe!.error!.includes('no WebGPU adapter')) return [];
  throw new Error(probe!.error);
}
