import { describe, expect, test } from 'vitest';
import { npy } from '../../src/io/npy.ts';

const join = (data: Float32Array, shape: readonly number[]) => Buffer.concat(npy(data, shape));

describe('npy', () => {
  test('is the file that numpy.save writes', () => {
    // python: numpy.save(file, numpy.array([[1, -2, 0.5], [3, 4, 5e-9]], '<f4'))
    const want =
      '934e554d5059010076007b276465736372273a20273c6634272c2027666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028322c2033292c207d' +
      `${'20'.repeat(58)}0a` +
      '0000803f000000c00000003f0000404000008040' +
      '77ccab31';
    expect(join(Float32Array.of(1, -2, 0.5, 3, 4, 5e-9), [2, 3]).toString('hex')).toBe(want);
  });

  test.each([
    [[], '()'],
    [[5], '(5,)'],
    [[0, 7], '(0, 7)'],
    [[2, 1, 3], '(2, 1, 3)'],
    [[1, ...new Array(60).fill(1)], `(${new Array(61).fill(1).join(', ')})`], // a header of more than 255 bytes
  ])('%j: the data begins at a multiple of 64, where the header says', (shape, tuple) => {
    const size = shape.reduce((n, side) => n * side, 1);
    const bytes = join(new Float32Array(size).fill(7), shape);
    const start = 10 + bytes.readUInt16LE(8);
    expect([start % 64, bytes.length - start]).toEqual([0, 4 * size]);
    const header = bytes.toString('latin1', 10, start);
    expect(header).toContain(`'shape': ${tuple}, }`);
    expect(header.at(-1)).toBe('\n');
  });

  test('a part of a buffer is that part', () => {
    const part = new Float32Array([9, 1, 2, 9]).subarray(1, 3);
    const bytes = join(part, [2]);
    expect([bytes.readFloatLE(bytes.length - 8), bytes.readFloatLE(bytes.length - 4)]).toEqual([1, 2]);
  });

  test('a shape that does not fit is an error', () => {
    expect(() => npy(new Float32Array(5), [2, 3])).toThrow('[npy] data: got 5 values, want 6');
  });
});
