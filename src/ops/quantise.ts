// Weights in eight and four bits.
import quantiseShader from '../../shaders/quantise.wgsl';
import { constOf, kernel } from '../exec/kernel.ts';
import { type Quantised, UNITS } from '../tensor/dtype.ts';
import { op } from '../tensor/op.ts';
import type { Tensor } from '../tensor/tensor.ts';

const run = kernel(quantiseShader);
const WG = constOf(quantiseShader, 'WG');

const node = op<{ dtype: Quantised }>(
  {
    name: 'quantise',
    backward: null,
    dispatch: ([x], y, { dtype }) => {
      const [UNIT, bytes] = UNITS[dtype as Quantised];
      const changes = { UNIT, WORDS: bytes / 16, make_unit: `make_${dtype}` };
      return [
        run(
          { x: x!, y },
          { params: { n: x!.size }, groups: Math.ceil(x!.size / (UNIT * WG)), aligned: ['x'], changes },
        ),
      ];
    },
  },
  ([x], { dtype }) => ({ shape: x!.shape, dtype }),
);

/**
 * f32 with its elements in order as q8 (8.5 bits each) or q4 (5 bits): blocks of 32 elements, in order, so along the last
 * dimension where it is a multiple of 32. shaders/quantise.wgsl has the rule.
 */
export const quantise = (x: Tensor, dtype: Quantised): Tensor => node([x], { dtype });
