// The matrix: which kernels at which shapes. The shapes, with the model each is from, are the table cases.json, which
// the graphs of ONNX are made from too.
import table from './cases.json' with { type: 'json' };
import { KERNELS, type Kernel } from './kernels.ts';

export type Case = Kernel & { kernel: string; dims: number[]; shape: string };

/** A line of the table with what its kernel says of itself. */
export function caseOf(kernel: string, dims: number[]): Case {
  return { kernel, dims, shape: dims.join('x'), ...KERNELS[kernel]!(...dims) };
}

/** The cases of a suite whose `kernel shape` matches `filter`. */
export function cases(suite: 'kernels' | 'models' | 'peers', filter = ''): Case[] {
  const wanted = new RegExp(filter);
  return table
    .filter(({ kernel }) => suite === 'peers' || kernel.startsWith('clip') === (suite === 'models'))
    .map(({ kernel, dims }) => caseOf(kernel, dims))
    .filter(({ kernel, shape }) => wanted.test(`${kernel} ${shape}`));
}
