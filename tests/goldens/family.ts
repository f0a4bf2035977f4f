// How a reference class and its methods become calls of Tessera. Each family states this as data; what it does not state
// (a method, an argument, an input, an output) is missing.
import type { Tensor } from '../../src/index.ts';
import type { CaseFiles } from './files.ts';
import type { Value } from './golden.ts';

/** 'a?' is an input that may be absent; 'a*' stands for all of a0, a1, ... */
type Inputs<N extends string> = { [K in N as K extends `${string}?` ? never : K]: Tensor } & {
  [K in N as K extends `${infer Name}?` ? Name : never]?: Tensor;
};
export type Outputs = Record<string, Tensor | Value | undefined>;

type Spec<M, N extends string> = {
  inputs?: readonly N[];
  /** The arguments that are known, each with the values that are. */
  args?: Record<string, (value: unknown) => boolean>;
  /** All outputs that the method can give, or those that are wanted; those that nobody asks for are not computed. */
  run(
    model: M,
    inputs: Inputs<N>,
    args: Record<string, unknown>,
    wanted: readonly string[],
  ): Outputs | Promise<Outputs>;
};
export type Method<M> = Spec<M, string>;
export const method = <M, const N extends string>(spec: Spec<M, N>): Method<M> => spec as unknown as Method<M>;

export type Family = { load(files: CaseFiles): Promise<unknown>; methods: Record<string, Method<unknown>> };
export const family = <M>(load: (files: CaseFiles) => Promise<M>, methods: Record<string, Method<M>>): Family => ({
  load,
  methods: methods as Record<string, Method<unknown>>,
});

export const isBoolean = (value: unknown): boolean => typeof value === 'boolean';
