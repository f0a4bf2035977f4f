// NumPy's file of one array, version 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

/** The pieces of a .npy file of float32 values in C order ('<f4'), to be written one after the other. */
export function npy(data: Float32Array, shape: readonly number[]): Uint8Array[] {
  const size = shape.reduce((n, side) => n * side, 1);
  if (size !== data.length) throw new RangeError(`[npy] data: got ${data.length} values, want ${size}`);
  const tuple = `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`;
  const about = `{'descr': '<f4', 'fortran_order': False, 'shape': ${tuple}, }`;
  const length = 64 * Math.ceil((10 + about.length + 1) / 64) - 10; // the data begins at a multiple of 64
  const head = `\x93NUMPY\x01\x00${String.fromCharCode(length & 255, length >> 8)}${about.padEnd(length - 1)}\n`;
  const bytes = Uint8Array.from(head, (character) => character.charCodeAt(0));
  return [bytes, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]; // every runtime here is little-endian
}
