// Tensors from values of the host.
import type { DType, TypedArray } from '../tensor/dtype.ts';
import { numel, type Shape, show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

export type Nested = number | boolean | readonly Nested[];
type Options = { dtype?: DType };

const ARRAYS = { f32: Float32Array, f16: Uint16Array, i32: Int32Array, u32: Uint32Array, bool: Uint32Array };

const dtypeOf = (data: TypedArray): DType =>
  data instanceof Int32Array
    ? 'i32'
    : data instanceof Uint32Array
      ? 'u32'
      : data instanceof Uint8Array
        ? 'bool'
        : 'f32';

function shapeOf(data: Nested): number[] {
  return Array.isArray(data) ? [data.length, ...(data.length > 0 ? shapeOf(data[0] as Nested) : [])] : [];
}

/**
 * A tensor of the given values: nested arrays (`tensor([[1, 2], [3, 4]])`), or a typed array with a shape. Numbers are f32,
 * booleans bool, an Int32Array i32, a Uint32Array u32, a Uint8Array bool, unless `dtype` says otherwise.
 */
export function tensor(data: TypedArray | Nested, shape?: Shape | Options, options: Options = {}): Tensor {
  if (shape && !Array.isArray(shape)) return tensor(data, undefined, shape as Options);
  const typed = ArrayBuffer.isView(data);
  const values = typed
    ? data
    : Array.isArray(data)
      ? (data.flat(Number.POSITIVE_INFINITY) as number[])
      : [data as number];
  const size = (shape as Shape | undefined) ?? (typed ? [values.length] : shapeOf(data as Nested));
  if (numel(size) !== values.length) {
    throw new RangeError(`[tensor] data: got ${values.length} values, want ${numel(size)} for the shape ${show(size)}`);
  }
  const isBool = !typed && values.length > 0 && typeof values[0] === 'boolean';
  const dtype = options.dtype ?? (typed ? dtypeOf(data as TypedArray) : isBool ? 'bool' : 'f32');
  if (dtype === 'f16') return tensor(Float32Array.from(values as ArrayLike<number>), size).to('f16');
  const host =
    dtype === 'bool'
      ? Uint32Array.from(values as number[], (v) => (v ? 1 : 0))
      : ARRAYS[dtype].from(values as number[]);
  return new Tensor({ shape: [...size], dtype, host });
}

/** A 0-d tensor whose value is never part of a plan: it may change from run to run at no cost. */
export const scalar = (value: number, dtype: DType = 'f32'): Tensor => new Tensor({ shape: [], dtype, scalar: value });
/** A tensor of one value. */
export const full = (shape: Shape, value: number, dtype: DType = 'f32'): Tensor => scalar(value, dtype).expand(shape);
/** Zeros of a shape. */
export const zeros = (shape: Shape, options: Options = {}): Tensor =>
  tensor(new Float32Array(numel(shape)), shape).to(options.dtype ?? 'f32');
/** Ones of a shape. */
export const ones = (shape: Shape, options: Options = {}): Tensor =>
  tensor(new Float32Array(numel(shape)).fill(1), shape).to(options.dtype ?? 'f32');
