// A shader as a function from tensors to a dispatch. How a tensor's elements are stored is settled here, for all kernels.
import { library } from '../gpu/library.ts';
import type { ShaderSource, Specialisation } from '../gpu/shader.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** A number known when the plan is made, several, or a 0-d tensor whose value is put in at each run. */
export type Param = number | readonly number[] | Tensor;

export type Dispatch = {
  shader: ShaderSource;
  changes: Specialisation;
  bindings: Record<string, Tensor>;
  params: Record<string, Param>;
  /** The largest value of parameters that differ from run to run, where a larger one would do harm. */
  atMost?: Record<string, number>;
  /** Workgroups; a plain number is folded into two dimensions where it is larger than one allows. */
  groups: number | readonly [number, number, number];
};

type Form = { alias: string; accessors: string };
const LOOSE: Record<DType, Form> = {
  f32: { alias: 'f32', accessors: 'f32' },
  f16: { alias: 'u32', accessors: 'f16' },
  i32: { alias: 'i32', accessors: 'i32' },
  u32: { alias: 'u32', accessors: 'u32' },
  bool: { alias: 'u32', accessors: 'bool' },
  q8: { alias: 'vec4u', accessors: 'q8' },
  q4: { alias: 'vec4u', accessors: 'q4' },
};
const QUADS: Record<DType, Form> = {
  f32: { alias: 'vec4f', accessors: 'f32x4' },
  f16: { alias: 'vec2u', accessors: 'f16x4' },
  i32: { alias: 'vec4i', accessors: 'i32x4' },
  u32: { alias: 'vec4u', accessors: 'u32x4' },
  bool: { alias: 'vec4u', accessors: 'boolx4' },
  q8: { alias: 'vec4u', accessors: 'q8x4' },
  q4: { alias: 'vec4u', accessors: 'q4x4' },
};

/** How a tensor of this type is stored when every quad that a kernel touches is aligned, and when it is not. */
export const storageForm = (dtype: DType, aligned: boolean): Form => (aligned ? QUADS : LOOSE)[dtype];

/** The changes that make binding `x` (alias `X`, accessors `x_at`, `x_quad`, `x_set`, `x_put`, `x_some`, `x_scale`, `x_scaled`) hold a given form. */
export function storedAs(shader: ShaderSource, name: string, dtype: DType, aligned: boolean): Specialisation {
  if (!shader.declarations[name.toUpperCase()]) return {}; // moves bits, of whatever type
  const form = storageForm(dtype, aligned);
  const changes: Specialisation = { [name.toUpperCase()]: form.alias };
  for (const kind of ['at', 'quad', 'set', 'put', 'some', 'scale', 'scaled']) {
    const from = `${form.accessors}_${kind}`;
    const own = dtype === 'f32' && !aligned; // as the file has it
    if (!own && shader.declarations[`${name}_${kind}`] && library[from])
      changes[`${name}_${kind}`] = `${from}(${name})`;
  }
  return changes;
}

type Call = {
  params?: Record<string, Param>;
  atMost?: Record<string, number>;
  groups: Dispatch['groups'];
  /** Bindings of which every quad touched is aligned: `i % 4 == 0`. */
  aligned?: readonly string[];
  changes?: Specialisation;
};

/** `softmax = kernel(source)`; `softmax({ x, y }, { params: { rows, cols }, groups })` is one dispatch of it. */
export const kernel =
  (shader: ShaderSource) =>
  (
    bindings: Record<string, Tensor>,
    { params = {}, atMost = {}, groups, aligned = [], changes = {} }: Call,
  ): Dispatch => {
    const stored = Object.entries(bindings).map(([name, t]) => storedAs(shader, name, t.dtype, aligned.includes(name)));
    return { shader, changes: Object.assign({}, ...stored, changes), bindings, params, atMost, groups };
  };

/** A number that a shader declares: `constOf(source, 'WG')`. */
export function constOf({ name, declarations }: ShaderSource, constant: string): number {
  const value = Number(/^const[^=]*=\s*(\d+)u?;/.exec(declarations[constant] ?? '')?.[1]);
  if (Number.isNaN(value)) throw new Error(`[${name}] has no whole number '${constant}'`);
  return value;
}
