// The bundle that runs cases inside any runtime.
import { setDevice } from '../../src/index.ts';
import { runCase } from './case.ts';
import { openCase, type Place } from './files.ts';
import type { Report } from './report.ts';

export type Options = { places: Place[]; adapter: string; webgpu: 'native' | 'npm' };

export async function main({ places, ...choice }: Options): Promise<Report[]> {
  using device = await setDevice(choice);
  const reports: Report[] = [];
  for (const place of places) {
    reports.push(await runCase(openCase(place)));
    device.check(); // the next case needs it
  }
  return reports;
}
