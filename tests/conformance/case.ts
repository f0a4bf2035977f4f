// One row of the conformance table: an op on random inputs, with its float64 reference and a tolerance that says why.
import { run, type Tensor } from '../../src/index.ts';
import type { Plain } from '../../src/tensor/dtype.ts';
import type { Nd } from '../reference.ts';
import { type Fill, type Input, LAYOUTS, type Layout, randomNd, readInput, type Tolerance } from '../samples.ts';

export type Output = { name: string; got: Tensor; want: Nd; tolerance: Tolerance };
export type Case = { group: string; name: string; outputs(): Output[] | Promise<Output[]> };

/** One set of inputs by their shapes: '5x13 13x7'. */
export const sizes = (set: string): number[][] => set.split(' ').map((shape) => shape.split('x').map(Number));
export const shapes = (...sets: string[]): number[][][] => sets.map(sizes);

export type Spec = {
  op: (...x: Tensor[]) => Tensor;
  want: (...x: Nd[]) => Nd;
  tolerance: Tolerance;
  /** Sets of inputs. */
  inputs: readonly (readonly Input[])[];
  /** More of them, for the full table. */
  more?: readonly (readonly Input[])[];
  /** Types of the inputs that have none of their own. */
  dtypes?: readonly Plain[];
  layouts?: readonly Layout[];
  fill?: Fill;
};

/**
 * The cases of some ops. Full: every type, shape and layout. Short: the first type in every shape, in order in memory;
 * then the first set of inputs in each other type and, of the first type, in the second layout, `extra` of these.
 */
export function table(
  group: string,
  isFull: boolean,
  ops: Record<string, Spec>,
  extra = Number.POSITIVE_INFINITY,
): Case[] {
  return Object.entries(ops).flatMap(([name, spec]) => {
    const { inputs, more = [], dtypes = ['f32', 'f16'], layouts = ['plain', 'sliced', 'permuted', 'expanded'] } = spec;
    const [dtype, ...others] = dtypes;
    const [layout, second] = layouts;
    const all = (list: readonly Input[]) =>
      dtypes.flatMap((dtype) => layouts.map((layout) => oneCase(group, name, spec, list, dtype, layout)));
    if (isFull) return [...inputs, ...more].flatMap(all);
    const variants = others.map((other) => oneCase(group, name, spec, inputs[0]!, other, layout!));
    if (second) variants.push(oneCase(group, name, spec, inputs[0]!, dtype!, second));
    const plain = inputs.map((list) => oneCase(group, name, spec, list, dtype!, layout!));
    return [...plain, ...variants.slice(0, extra)];
  });
}

function oneCase(group: string, op: string, spec: Spec, list: readonly Input[], dtype: Plain, layout: Layout): Case {
  const shapes = list.map((input) => `[${readInput(input).shape.join()}]`).join('');
  const name = `${op} ${dtype} ${shapes}${layout === 'plain' ? '' : ` ${layout}`}`;
  const outputs = async () => {
    const made = list.map((input, k) => {
      const { shape, dtype: fixed, fill } = readInput(input);
      const type = fixed ?? dtype;
      const isFloat = type === 'f32' || type === 'f16';
      return LAYOUTS[layout](randomNd(shape, k + 1, type, fill ?? (isFloat ? spec.fill : undefined)), type);
    });
    await run(made.map((m) => m.x)); // so that nothing about how they are made is fused into the op
    const { tolerance } = spec;
    return [{ name, got: spec.op(...made.map((m) => m.x)), want: spec.want(...made.map((m) => m.value)), tolerance }];
  };
  return { group, name, outputs };
}
