// doctor() as a program for every runtime.
import type { AdapterChoice } from '../../src/gpu/host.ts';
import { doctor, type Health } from '../../src/index.ts';

export const main = ({ adapter, webgpu }: AdapterChoice): Promise<Health> => doctor({ adapter, webgpu });
