// The bundle that runs one case inside any runtime.
import { setDevice } from '../../src/index.ts';
import { type Report, runCase } from './case.ts';
import { openCase, type Place } from './files.ts';

export type Options = { place: Place; adapter: string; webgpu: 'native' | 'npm' };

export async function main({ place, ...choice }: Options): Promise<Report> {
  using _device = await setDevice(choice);
  return await runCase(await openCase(place)); // before the device goes
}
