// The only door to a checkpoint: a model names its tensors where it uses them, and what it named is loaded afterwards.
import type { Shape } from '../tensor/shape.ts';
import { show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { Adapters } from './adapters.ts';
import { UserError } from './error.ts';
import type { TensorView } from './layouts/index.ts';
import { Taps } from './taps.ts';
import { type Requests, typeOf, type WeightTypes, type WeightUse } from './weight-type.ts';

const ENOUGH = 10_000; // missing tensors: a config with a wrong number of layers would go on for ever
const MOST = 300_000; // tensors without a checkpoint, for the same reason; the largest models have 100 000

export class Weights {
  readonly #views: ReadonlyMap<string, TensorView> | null;
  readonly #path: string;
  #place: string; // where the layer of these weights is
  readonly #dtype: WeightTypes;
  readonly requests: Requests;
  /** LoRA beside the weights: of the whole model. */
  readonly adapters: Adapters;
  /** Who looks inside: of the whole model. */
  readonly taps: Taps;

  /** Without `views` there is no checkpoint: every tensor that is named has its shape and no values. */
  constructor(
    views: ReadonlyMap<string, TensorView> | null,
    dtype: WeightTypes = 'f32',
    path = '',
    requests: Requests = { wanted: new Map(), matrices: new Map(), missing: [], misshaped: [] },
    adapters = new Adapters(),
    taps = new Taps(),
  ) {
    this.#views = views;
    this.#dtype = dtype;
    this.#path = path;
    this.#place = path;
    this.requests = requests;
    this.adapters = adapters;
    this.taps = taps;
  }

  /** The weights below a path: `w.at('layers.0').get('weight', ...)` is `layers.0.weight`. */
  at(path: string | number): Weights {
    return new Weights(this.#views, this.#dtype, this.#full(String(path)), this.requests, this.adapters, this.taps);
  }

  /** These weights in the place of others, as an output layer that is tied to embeddings: who looks inside, and LoRA, find it there. */
  as(place: Weights): Weights {
    const weights = new Weights(this.#views, this.#dtype, this.#path, this.requests, this.adapters, this.taps);
    weights.#place = place.#path;
    return weights;
  }

  /** A tensor that must be there with this shape. All that is wrong is reported together once the model is built. */
  get(name: string, shape: Shape): Tensor {
    return this.#get(name, shape, 'other');
  }

  /** The same of a matrix that only products and look-ups of its rows read: [out, in], as torch has it. */
  matrix(name: string, shape: Shape, use: WeightUse = 'product'): Tensor {
    return this.#get(name, shape, use);
  }

  /** The same, or undefined where the checkpoint has none. */
  maybe(name: string, shape: Shape): Tensor | undefined {
    return this.#views?.has(this.#full(name)) ? this.get(name, shape) : undefined;
  }

  /** What a layer does with these weights, in a form that can be looked at. */
  layer(apply: (x: Tensor) => Tensor, kind?: 'norm'): (x: Tensor) => Tensor {
    return this.taps.layer(this.#place, kind === 'norm', apply);
  }

  /** What adapters add to the products with a matrix that `linear` named, at any time. */
  adapted(weight: Tensor) {
    return this.adapters.of(this.#place, weight, this.#place !== this.#path);
  }

  #get(name: string, shape: Shape, use: WeightUse): Tensor {
    const path = this.#full(name);
    const { wanted, missing, misshaped } = this.requests;
    const known = wanted.get(path);
    if (known && show(known.shape) === show(shape)) return known;
    const found = this.#views ? this.#views.get(path) : { shape };
    if (!found) missing.push(path);
    else if (show(found.shape) !== show(shape)) {
      misshaped.push(`${path}: got ${show(found.shape)}, want ${show(shape)}`);
    }
    if (missing.length > ENOUGH)
      throw new UserError(`[weights] more than ${ENOUGH} tensors are missing, ${path} the last`);
    if (!this.#views && wanted.size >= MOST)
      throw new UserError(`[weights] more than ${MOST} tensors, ${path} the last: is a number in config.json wrong?`);
    const tensor = new Tensor({ shape: [...shape], dtype: typeOf(this.#dtype, path, use) });
    wanted.set(path, tensor);
    if (use !== 'other') this.requests.matrices.set(tensor, use);
    return tensor;
  }

  #full(name: string): string {
    return this.#path ? `${this.#path}.${name}` : name;
  }
}
