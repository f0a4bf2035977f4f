// The conformance suite as a bundle: every case computed on one device, checked against its float64 oracle, then hashed.

import type { AdapterChoice } from '../../src/gpu/host.ts';
import { Device, run, setDevice } from '../../src/index.ts';
import { plain } from '../../src/tensor/dtype.ts';
import { sha256 } from '../sha256.ts';
import { type Alteration, alter } from './alter.ts';
import type { Case } from './case.ts';
import { check, type Result } from './check.ts';
import { elementwise } from './elementwise.ts';
import { kernels } from './kernels.ts';
import { models } from './models.ts';
import { programs } from './programs.ts';

export type Options = {
  /** Every type, shape and layout of every op, and every golden model. */
  full?: boolean;
  /** Groups to run; all by default. */
  groups?: string[];
  alter?: Alteration;
  /** Give the values of each op's outputs too. */
  keep?: boolean;
};
export type { Result };
export type Report = { adapter: string; runtime: string; ms: number; pipelines: number; results: Result[] };

export async function main(options: Options & AdapterChoice): Promise<Report> {
  const start = performance.now();
  const { full = false, groups, keep = false } = options;
  if (options.alter) alter(options.alter);
  const device = await setDevice({ adapter: options.adapter, webgpu: options.webgpu });
  const isWanted = (group: string) => !groups || groups.includes(group);
  const cases = [...elementwise(full), ...kernels(full), ...programs(full)].filter(({ group }) => isWanted(group));
  const results: Result[] = [];
  for (const one of cases) results.push(...(await compute(one, keep)));
  if (isWanted('model')) results.push(...(await models(full)));
  if (isWanted(OTHER)) results.push(...(await otherKernels(device, cases, results)));
  const { name, runtime } = device.adapter;
  const ms = Math.round(performance.now() - start);
  return { adapter: name, runtime, ms, pipelines: device.counters.pipelines, results };
}

async function compute({ group, name, outputs }: Case, keep: boolean): Promise<Result[]> {
  const results: Result[] = [];
  try {
    const made = await outputs();
    await run(made.map(({ got }) => got));
    for (const { name, got, want, tolerance } of made) {
      const data = await got.data();
      const { max_abs, why } = check(data, plain(got.dtype), want, tolerance);
      const shape = `${got.shape}` === `${want.shape}` ? '' : `got shape [${got.shape}], want [${want.shape}]`;
      const problem = shape || why;
      results.push({
        ...{ group, name, ok: !problem, max_abs, sha256: await sha256(data) },
        ...(problem && { why: problem }),
        ...(keep && { values: [...data] }),
      });
    }
  } catch (error) {
    results.push({ group, name, ok: false, max_abs: null, sha256: '', why: (error as Error).message });
  }
  return results;
}

const OTHER = 'kernels for GPUs'; // or for software, where this is none
const DEPENDING = ['matmul', 'softmax, norm', 'conv2d', 'attention', 'index, move'];

/** Ops once more with the kernels that another adapter would get, one without subgroups: the same bits. */
async function otherKernels(device: Device, cases: readonly Case[], results: readonly Result[]): Promise<Result[]> {
  const other = new Device(device.gpu, { ...device.adapter, software: !device.adapter.software });
  Object.assign(other.capabilities, { subgroups: false, subgroupSize: 0 });
  await setDevice(other);
  const again: Result[] = [];
  for (const one of cases.filter(({ group }) => DEPENDING.includes(group))) {
    for (const result of await compute(one, false)) {
      const same =
        results.find(({ group, name }) => group === one.group && name === result.name)?.sha256 === result.sha256;
      const why = result.why ?? (same ? undefined : 'other bits than the kernels of this adapter give');
      again.push({ ...result, group: OTHER, ok: result.ok && same, ...(why && { why }) });
    }
  }
  await setDevice(device);
  return again;
}
