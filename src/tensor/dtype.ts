// Element types. f16 lies packed, two in a u32; bool is a u32 of 0 or 1; q8 and q4 are as shaders/quantise.wgsl makes them.

export type Plain = 'f32' | 'f16' | 'i32' | 'u32' | 'bool';
/** Types of weights that kernels read and only `to` writes. */
export type Quantised = 'q8' | 'q4';
export type DType = Plain | Quantised;
export type TypedArray = Float32Array | Int32Array | Uint32Array | Uint8Array | Uint16Array;

/** Elements that lie together in a buffer, and their bytes. */
export const UNITS: Record<DType, readonly [elements: number, bytes: number]> = {
  ...{ f32: [4, 16], f16: [4, 8], i32: [4, 16], u32: [4, 16], bool: [4, 16] },
  ...{ q8: [256, 272], q4: [128, 80] },
};

/** Bytes of `n` elements in a buffer, in whole units, so that every kernel may read and write quads. */
export const byteLength = (dtype: DType, n: number) => {
  const [elements, bytes] = UNITS[dtype];
  return Math.max(1, Math.ceil(n / elements)) * bytes;
};

/** The least and the largest of the types of integers. */
export const RANGES: Partial<Record<DType, readonly [number, number]>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
};

/** Whether a number is one of a type, once it is cut towards zero. */
export function holds(dtype: DType, value: number): boolean {
  const range = RANGES[dtype];
  return !range || (Math.trunc(value) >= range[0] && Math.trunc(value) <= range[1]);
}

export const isFloat = (dtype: DType) => dtype === 'f32' || dtype === 'f16';

export const isQuantised = (dtype: DType): dtype is Quantised => dtype === 'q8' || dtype === 'q4';

/** The type in which the values of a type are computed with. */
export const plain = (dtype: DType): Plain => (isQuantised(dtype) ? 'f32' : dtype);

/** All types that are computed with, the wider ones first, and the others. */
export const DTYPES: readonly Plain[] = ['f32', 'f16', 'i32', 'u32', 'bool'];
export const QUANTISED: readonly Quantised[] = ['q8', 'q4'];

/** The type of a result of two types, as in PyTorch: the wider one. */
export const promote = (a: DType, b: DType): Plain => {
  const [x, y] = [plain(a), plain(b)];
  return DTYPES.indexOf(x) < DTYPES.indexOf(y) ? x : y;
};
