// AdamW, Loshchilov and Hutter 2019, arXiv:1711.05101, in the order of operations of torch.optim.AdamW.
import { assign, run } from '../exec/run.ts';
import { checkOptions, checkTensorList } from '../tensor/check.ts';
import { grad } from '../tensor/grad.ts';
import type { Tensor } from '../tensor/tensor.ts';

export type AdamWOptions = { lr?: number; betas?: readonly [number, number]; eps?: number; weight_decay?: number };

export class AdamW {
  readonly params: readonly Tensor[];
  readonly options: Required<AdamWOptions>;
  /** Steps taken. */
  steps = 0;
  #moments: { m: Tensor; v: Tensor }[];

  /** `params` are f32 tensors with values, such as `model.named_parameters()` holds. `options.lr` may change between steps. */
  constructor(params: Iterable<Tensor>, options: AdamWOptions = {}) {
    this.params = typeof params?.[Symbol.iterator] === 'function' ? [...params] : (params as never); // refused next
    checkTensorList('AdamW', 'params', this.params);
    checkOptions('AdamW', options, '{ lr: 1e-3 }');
    this.options = { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 1e-2, ...options };
    const wrong = this.params.find((p) => p.dtype !== 'f32' || p.op !== null || p.base !== p);
    if (wrong) throw new TypeError(`[AdamW] params: got ${wrong}, want f32 leaves; load the model with dtype 'f32'`);
    this.#moments = this.params.map((p) => ({ m: p.zeros_like(), v: p.zeros_like() }));
  }

  /**
   * Moves the parameters against the gradient of `loss`, whose value it gives. The handles stay and have new values; what
   * else was recorded with the old ones must be computed before. A step that throws changes nothing.
   */
  async step(loss: Tensor): Promise<number> {
    const { lr, betas, eps, weight_decay } = this.options;
    const [b1, b2] = betas;
    const t = this.steps + 1;
    const next = grad(loss, this.params).map((g, i) => {
      const m = this.#moments[i]!.m.mul(b1).add(g.mul(1 - b1));
      const v = this.#moments[i]!.v.mul(b2).add(g.square().mul(1 - b2));
      const scale = v
        .sqrt()
        .div(Math.sqrt(1 - b2 ** t))
        .add(eps);
      const p = this.params[i]!.mul(1 - lr * weight_decay).sub(m.div(scale).mul(lr / (1 - b1 ** t)));
      return { p, m, v };
    });
    await run([loss, ...next.flatMap(({ p, m, v }) => [p, m, v])]);
    this.dispose();
    this.#moments = next.map(({ m, v }) => ({ m, v }));
    for (const [i, p] of this.params.entries()) assign(p, next[i]!.p);
    this.steps = t;
    return loss.item();
  }

  /** Frees the moments; the parameters stay. */
  dispose(): void {
    for (const { m, v } of this.#moments) for (const t of [m, v]) t.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
