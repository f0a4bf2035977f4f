// Normal random numbers as a sequence, as torch.Generator has them: each call takes the next ones.
import { UserError } from '../io/error.ts';
import { randn, tensor } from '../ops/index.ts';
import { checkOptions, describe } from '../tensor/check.ts';
import { numel, type Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { TorchRandom } from './torch-random.ts';

/** `philox` draws on the device, the same numbers on every one; `torch` draws what torch.randn does on a CPU, for pictures as diffusers'. */
export type Algorithm = 'philox' | 'torch';

/** A seed at random. */
export const freshSeed = (): number => Math.floor(Math.random() * 2 ** 32);

/** `new Generator(7).randn([1, 4, 64, 64])`. Without a seed: a random one, which `seed` then tells. */
export class Generator {
  readonly algorithm: Algorithm;
  #seed = 0;
  /** Calls so far, of which each has numbers of its own. */
  #calls = 0;
  #torch: TorchRandom | undefined;

  constructor(seed: number = freshSeed(), options: { algorithm?: Algorithm } = {}) {
    checkOptions('generator', options, "{ algorithm: 'torch' }");
    const { algorithm = 'philox' } = options;
    if (algorithm !== 'philox' && algorithm !== 'torch') {
      throw new UserError(`[generator] algorithm: got ${describe(algorithm)}, want 'philox' or 'torch'`);
    }
    this.algorithm = algorithm;
    this.manual_seed(seed);
  }

  get seed(): number {
    return this.#seed;
  }

  /** Starts again from a seed, a whole number from 0. */
  manual_seed(seed: number): this {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new UserError(`[generator] seed: got ${describe(seed)}, want a whole number from 0`);
    }
    this.#seed = seed;
    this.#calls = 0;
    this.#torch = this.algorithm === 'torch' ? new TorchRandom(seed) : undefined;
    return this;
  }

  /** The next normal numbers, f32. */
  randn(shape: Shape): Tensor {
    if (this.#torch) return tensor(this.#torch.randn(numel(shape)), shape);
    return randn(shape, { seed: this.#seed, position: this.#calls++ });
  }
}
