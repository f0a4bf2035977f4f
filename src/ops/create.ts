// Tensors from values of the host.
import { checkDType, type DType, type TypedArray } from '../tensor/dtype.ts';
import { numel, type Shape, show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

export type Nested = number | boolean | readonly Nested[];
type Options = { dtype?: DType };

const ARRAYS = { f32: Float32Array, f16: Uint16Array, i32: Int32Array, u32: Uint32Array, bool: Uint32Array };

function dtypeOf(data: ArrayBufferView): DType {
  if (data instanceof Float32Array) return 'f32';
  if (data instanceof Int32Array) return 'i32';
  if (data instanceof Uint32Array) return 'u32';
  throw new TypeError(
    `[tensor] data: got ${data.constructor.name}, which may mean several types; give one, as in { dtype: 'bool' }`,
  );
}

/** The shape of nested arrays, which must be the same in all of them. */
function shapeOf(data: Nested): number[] {
  if (!Array.isArray(data)) return [];
  if (!data.some(Array.isArray)) return [data.length];
  const [first = [], ...rest] = data.map(shapeOf);
  const other = rest.find((shape) => show(shape) !== show(first));
  if (other)
    throw new RangeError(`[tensor] data: got ragged arrays, ${show(first)} beside ${show(other)}, want equal shapes`);
  return [data.length, ...first];
}

/** 64-bit integers, as tokenizers give them. */
function toI32(data: BigInt64Array): Int32Array {
  const bad = data.find((v) => v !== BigInt.asIntN(32, v));
  if (bad !== undefined) throw new RangeError(`[tensor] data: got ${bad}, want 32-bit integers`);
  return Int32Array.from(data, Number);
}

/**
 * A tensor of the given values: nested arrays (`tensor([[1, 2], [3, 4]])`), or a typed array with a shape. Numbers are f32,
 * booleans bool, an Int32Array or BigInt64Array i32, a Uint32Array u32, unless `dtype` says otherwise; other arrays need it.
 */
export function tensor(
  data: TypedArray | BigInt64Array | Nested,
  shape?: Shape | Options,
  options: Options = {},
): Tensor {
  if (shape && !Array.isArray(shape)) return tensor(data, undefined, shape as Options);
  if (data instanceof BigInt64Array) return tensor(toI32(data), shape, options);
  if (options.dtype) checkDType('tensor', options.dtype);
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
  const dtype = options.dtype ?? (typed ? dtypeOf(data) : isBool ? 'bool' : 'f32');
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
