// What kernels with a row in each thread have in common.
import type { Capabilities } from '../gpu/device.ts';

/** Threads of a workgroup: few on software adapters, so that a hundred rows fill more than one core. */
export const rowThreads = ({ software }: Capabilities): number => (software ? 16 : 64);
