// Element types. f16 lies packed, two in a u32; bool is a u32 of 0 or 1.

export type DType = 'f32' | 'f16' | 'i32' | 'u32' | 'bool';
export type TypedArray = Float32Array | Int32Array | Uint32Array | Uint8Array | Uint16Array;

/** Bytes of `n` elements in a buffer, in whole quads of four, so that every kernel may read and write quads. */
export const byteLength = (dtype: DType, n: number) => Math.max(1, Math.ceil(n / 4)) * (dtype === 'f16' ? 8 : 16);

export const isFloat = (dtype: DType) => dtype === 'f32' || dtype === 'f16';

/** All types, the wider ones first. */
export const DTYPES: readonly DType[] = ['f32', 'f16', 'i32', 'u32', 'bool'];

/** The type of a result of two types, as in PyTorch: the wider one. */
export const promote = (a: DType, b: DType): DType => (DTYPES.indexOf(a) < DTYPES.indexOf(b) ? a : b);
