// The bundle that runs cases inside any runtime.
import { setDevice } from '../../src/index.ts';
import { runCase } from './case.ts';
import { openCase, type Place } from './files.ts';
import { readGolden } from './golden.ts';
import { allMissing, type Report } from './report.ts';

export type Options = { places: Place[]; adapter: string; webgpu: 'native' | 'npm' };

export async function main({ places, ...choice }: Options): Promise<Report[]> {
  const device = await setDevice(choice).catch((error: Error) => error);
  const reports: Report[] = [];
  for (const files of places.map(openCase)) {
    if (device instanceof Error) reports.push(allMissing(await readGolden(files), device.message));
    else {
      reports.push(await runCase(files));
      device.check(); // the next case needs it
    }
  }
  return reports;
}
