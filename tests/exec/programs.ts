// Random programs: ops on [6, 6] whose values stay small, in any order, on any earlier results. Between them they have
// kernels, fused chains, epilogues, views of all sorts and values that several read.
import fc from 'fast-check';
import { arange, concat, type Tensor, tensor } from '../../src/index.ts';
import * as ref from '../reference.ts';

export const SIZE = 6;
type Rule = { engine: (a: Tensor, b: Tensor) => Tensor; reference: (a: ref.Nd, b: ref.Nd) => ref.Nd };

const add = ref.map((a, b) => a! + b!);
const tanh = ref.map((x) => Math.tanh(x!));
const shuffled = [2, 0, 5, 5, 1, 3];
const OPS: Record<string, Rule> = {
  add: { engine: (a, b) => a.add(b).mul(0.5), reference: ref.map((a, b) => (a! + b!) / 2) },
  mul: { engine: (a, b) => a.tanh().mul(b), reference: ref.map((a, b) => Math.tanh(a!) * b!) },
  select: { engine: (a, b) => a.gt(b).where(a, b), reference: ref.map((a, b) => Math.max(a!, b!)) },
  gelu: { engine: (a) => a.gelu(), reference: ref.map((a) => ref.gelu(a!)) },
  transpose: { engine: (a) => a.transpose(0, 1), reference: (a) => ref.permute(a, [1, 0]) },
  outer: {
    engine: (a, b) => a.slice(0, 1, 2).add(b.slice(1, 2, 3)),
    reference: (a, b) => add(ref.slice(a, 0, 1, 2), ref.slice(b, 1, 2, 3)),
  },
  repeat: {
    engine: (a) => a.slice(1, 3, 4).expand([SIZE, SIZE]),
    reference: (a) => ref.expand(ref.slice(a, 1, 3, 4), [SIZE, SIZE]),
  },
  mean: { engine: (a, b) => a.mean(-1, true).add(b), reference: (a, b) => add(ref.mean(a, [1], true), b) },
  max: { engine: (a, b) => b.sub(a.max(0)), reference: (a, b) => ref.map((p, q) => p! - q!)(b, ref.max(a, [0])) },
  softmax: { engine: (a) => a.softmax(-1), reference: (a) => ref.softmax(a) },
  norm: {
    engine: (a, b) => a.layer_norm(undefined, undefined, 1).add(b),
    reference: (a, b) => add(ref.layer_norm(a, undefined, undefined, 1), b),
  },
  matmul: {
    engine: (a, b) => a.tanh().matmul(b).div(SIZE),
    reference: (a, b) => ref.map((v) => v! / SIZE)(ref.matmul(tanh(a), b)),
  },
  linear: {
    engine: (a, b) =>
      a
        .matmul(b.tanh().transpose(0, 1))
        .div(SIZE)
        .add(b.slice(0, 0, 1))
        .relu(),
    reference: (a, b) => ref.map((v, w) => Math.max(0, v! / SIZE + w!))(ref.linear(a, tanh(b)), ref.slice(b, 0, 0, 1)),
  },
  concat: {
    engine: (a, b) => concat([a.slice(0, 0, 2), b.slice(0, 2)]),
    reference: (a, b) => ref.concat([ref.slice(a, 0, 0, 2), ref.slice(b, 0, 2, SIZE)], 0),
  },
  pad: {
    engine: (a, b) => a.slice(1, 1, 4).pad([2, 1]).add(b),
    reference: (a, b) => add(ref.pad(ref.slice(a, 1, 1, 4), [2, 1]), b),
  },
  rows: {
    engine: (a) => a.index_select(0, tensor(shuffled, { dtype: 'i32' })),
    reference: (a) => ref.nd(a.shape, ([i, j]) => ref.at(a, [shuffled[i!]!, j!])),
  },
  reshape: {
    engine: (a, b) =>
      a
        .reshape([SIZE * SIZE])
        .add(1)
        .reshape([SIZE, SIZE])
        .sub(b),
    reference: ref.map((a, b) => a! + 1 - b!),
  },
  permute: {
    engine: (a, b) => a.reshape([2, 3, SIZE]).permute([1, 0, 2]).reshape([SIZE, SIZE]).add(b),
    reference: (a, b) => add(ref.reshape(ref.permute(ref.reshape(a, [2, 3, SIZE]), [1, 0, 2]), [SIZE, SIZE]), b),
  },
  triangle: {
    engine: (a) => arange(SIZE).le(arange(SIZE).unsqueeze(-1)).where(a, 0),
    reference: (a) => ref.nd(a.shape, ([i, j]) => (j! <= i! ? ref.at(a, [i!, j!]) : 0)),
  },
};

export type Program = { op: string; a: number; b: number }[];
export const programs = (maxLength: number): fc.Arbitrary<Program> =>
  fc.array(fc.record({ op: fc.constantFrom(...Object.keys(OPS)), a: fc.nat(99), b: fc.nat(99) }), {
    minLength: 1,
    maxLength,
  });

/** All values of a program, its inputs first: every step reads two values before it. */
export function values<T>(program: Program, inputs: readonly T[], apply: (rule: Rule, a: T, b: T) => T): T[] {
  const made = [...inputs];
  for (const { op, a, b } of program) made.push(apply(OPS[op]!, made[a % made.length]!, made[b % made.length]!));
  return made;
}
export const compute = (program: Program, inputs: readonly Tensor[]): Tensor[] =>
  values(program, inputs, (rule, a, b) => rule.engine(a, b));
export const computeReference = (program: Program, inputs: readonly ref.Nd[]): ref.Nd[] =>
  values(program, inputs, (rule, a, b) => rule.reference(a, b));
