// Tensors from values of the host.
import { checkDType, checkHeld, checkList, checkNumber, checkOptions, describe } from '../tensor/check.ts';
import { type DType, isQuantised, RANGES, type TypedArray } from '../tensor/dtype.ts';
import { numel, type Shape, show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

export type Nested = number | boolean | readonly Nested[];
type Options = { dtype?: DType };

const ARRAYS = { f32: Float32Array, f16: Uint16Array, i32: Int32Array, u32: Uint32Array, bool: Uint32Array };

function dtypeOf(data: ArrayBufferView): DType {
  if (data instanceof Float32Array) return 'f32';
  if (data instanceof Int32Array) return 'i32';
  if (data instanceof Uint32Array) return 'u32';
  const got = `[tensor] data: got ${describe(data)}`;
  if (data instanceof Float64Array) {
    throw new TypeError(`${got}, and float64 is not a dtype here; want Float32Array.from(values)`);
  }
  throw new TypeError(`${got}, which may mean several types; give one, as in { dtype: 'bool' }`);
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

function elements(data: unknown): (number | boolean)[] {
  const values = Array.isArray(data) ? data.flat(Number.POSITIVE_INFINITY) : [data];
  const bad = values.findIndex((v) => typeof v !== 'number' && typeof v !== 'boolean');
  if (bad >= 0) {
    const got = `${describe(values[bad])}${Array.isArray(data) ? ' among the values' : ''}`;
    throw new TypeError(`[tensor] data: got ${got}, want numbers or booleans: one, nested arrays or a typed array`);
  }
  return values;
}

function dtypeIn(where: string, options: Options): DType | undefined {
  checkOptions(where, options, "{ dtype: 'f32' }");
  if (options.dtype !== undefined) checkDType(where, options.dtype);
  return options.dtype;
}
const isOptions = (v: unknown): v is Options =>
  typeof v === 'object' && v !== null && !Array.isArray(v) && !ArrayBuffer.isView(v);

/**
 * A tensor of the given values: nested arrays (`tensor([[1, 2], [3, 4]])`), or a typed array with a shape. Numbers are f32,
 * booleans bool, an Int32Array or BigInt64Array i32, a Uint32Array u32, unless `dtype` says otherwise; other arrays need it.
 */
export function tensor(
  data: TypedArray | Float64Array | BigInt64Array | BigUint64Array | Nested,
  shape?: Shape | Options,
  options: Options = {},
): Tensor {
  if (isOptions(shape)) return tensor(data, undefined, shape);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    return tensor(Float64Array.from(data, Number), shape, { dtype: dtypeIn('tensor', options) ?? 'i32' });
  }
  const typed = ArrayBuffer.isView(data) && 'length' in data;
  const values = typed ? data : elements(data);
  if (shape !== undefined) checkList('tensor', 'shape', shape, 0);
  const size = shape ?? (typed ? [values.length] : shapeOf(data as Nested));
  if (numel(size) !== values.length) {
    throw new RangeError(`[tensor] data: got ${values.length} values, want ${numel(size)} for the shape ${show(size)}`);
  }
  const isBool = () => values.length > 0 && (values as unknown[]).every((v) => typeof v === 'boolean');
  const dtype = dtypeIn('tensor', options) ?? (typed ? dtypeOf(data) : isBool() ? 'bool' : 'f32');
  if (dtype === 'f16' || isQuantised(dtype))
    return tensor(Float32Array.from(values as ArrayLike<number>), size).to(dtype);
  if (dtype in RANGES && !(values instanceof ARRAYS[dtype])) {
    for (const v of values) checkHeld('tensor', 'data', Number(v), dtype);
  }
  const host =
    dtype === 'bool'
      ? Uint32Array.from(values as number[], (v) => (v ? 1 : 0))
      : ARRAYS[dtype].from(values as number[]);
  return new Tensor({ shape: [...size], dtype, host });
}

/** A 0-d tensor whose value is never part of a plan: it may change from run to run at no cost. */
export function scalar(value: number, dtype: DType = 'f32'): Tensor {
  checkNumber('scalar', 'value', value);
  checkDType('scalar', dtype);
  checkHeld('scalar', 'value', value, dtype);
  return new Tensor({ shape: [], dtype, scalar: Number(value) });
}
/** A tensor of one value. */
export function full(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
  checkList('full', 'shape', shape, 0);
  checkNumber('full', 'value', value);
  checkDType('full', dtype);
  checkHeld('full', 'value', value, dtype);
  return scalar(value, dtype).expand(shape);
}
const filled = (where: string, shape: Shape, value: number, options: Options = {}): Tensor => {
  checkList(where, 'shape', shape, 0);
  const dtype = dtypeIn(where, options) ?? 'f32';
  return new Tensor({ shape: [...shape], dtype: 'f32', fill: value }).to(dtype);
};
/** Zeros of a shape. */
export const zeros = (shape: Shape, options?: Options): Tensor => filled('zeros', shape, 0, options);
/** Ones of a shape. */
export const ones = (shape: Shape, options?: Options): Tensor => filled('ones', shape, 1, options);
