// The matrix: which kernels and models at which shapes. The shapes, with the model each is from, are the table cases.json,
// which the graphs of ONNX are made from too.
import table from './cases.json' with { type: 'json' };
import { KERNELS, type Kernel } from './kernels.ts';
import { MODELS, type Model } from './models.ts';

type Line = { kernel: string; dims: number[]; shape: string };
export type ModelCase = Model & Line;
export type Case = (Kernel & Line) | ModelCase;
export const isModel = (c: Case): c is ModelCase => 'weights' in c;

/** A line of the table with what its kernel says of itself. */
export function caseOf(kernel: string, dims: number[]): Case {
  return { kernel, dims, shape: dims.join('x'), ...(KERNELS[kernel] ?? MODELS[kernel])!(...dims) };
}

/** The cases of a suite whose `kernel shape` matches `filter`. */
export function cases(suite: 'kernels' | 'models' | 'peers', filter = ''): Case[] {
  const wanted = new RegExp(filter);
  return table
    .filter(({ kernel }) => suite === 'peers' || kernel in MODELS === (suite === 'models'))
    .filter(({ kernel, dims }) => wanted.test(`${kernel} ${dims.join('x')}`))
    .map(({ kernel, dims }) => caseOf(kernel, dims));
}
