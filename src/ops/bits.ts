// Floats from the bits of a file.
import bitsShader from '../../shaders/bits.wgsl';
import { constOf, kernel } from '../exec/kernel.ts';
import { op } from '../tensor/op.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

const run = kernel(bitsShader);
const WG = constOf(bitsShader, 'WG');

/** Formats of floats in files, by their safetensors names. */
export const FLOAT_FORMATS = {
  F32: 'f32_four',
  F16: 'f16_four',
  BF16: 'bf16_four',
  F8_E4M3: 'e4m3_four',
  F8_E5M2: 'e5m2_four',
};
export type FloatFormat = keyof typeof FLOAT_FORMATS;

type Attrs = { shape: Shape; format: FloatFormat; dtype: 'f32' | 'f16' };
const node = op<Attrs>(
  {
    name: 'from_bits',
    backward: null,
    dispatch: ([x], y, { format }) => {
      const changes = { four: FLOAT_FORMATS[format as FloatFormat] };
      return [
        run({ x: x!, y }, { params: { n: y.size }, groups: Math.ceil(y.size / (4 * WG)), aligned: ['y'], changes }),
      ];
    },
  },
  (_, { shape, dtype }) => ({ shape, dtype }),
);

/** Words of 32 bits, a u32 tensor, as floats of a stored format. bf16 and fp8 lose nothing in f32. */
export const from_bits = (words: Tensor, shape: Shape, format: FloatFormat, dtype: 'f32' | 'f16' = 'f32'): Tensor =>
  node([words], { shape, format, dtype });
