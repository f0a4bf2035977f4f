// AdamW, Loshchilov and Hutter 2019, arXiv:1711.05101, in the order of operations of torch.optim.AdamW.
import { assign, type RunOptions, run } from '../exec/run.ts';
import { UserError } from '../io/error.ts';
import { tensor } from '../ops/create.ts';
import { checkOptions, checkTensorList, describe } from '../tensor/check.ts';
import type { TypedArray } from '../tensor/dtype.ts';
import { grad } from '../tensor/grad.ts';
import type { Tensor } from '../tensor/tensor.ts';

export type AdamWOptions = { lr?: number; betas?: readonly [number, number]; eps?: number; weight_decay?: number };

export type AdamWState = { step: number; state: { exp_avg: TypedArray; exp_avg_sq: TypedArray }[] };

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
   * else was recorded with the old ones must be computed before. A step that throws changes nothing; one throws a UserError
   * where the loss, or what it would make of the parameters, is not finite.
   */
  async step(loss: Tensor, options: Pick<RunOptions, 'signal'> = {}): Promise<number> {
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
    const made = next.flatMap(({ p, m, v }) => [p, m, v]);
    const nothing = next.map(({ p, m, v }) => p.mul(0).add(m.mul(0)).add(v.mul(0)).sum()); // or NaN
    const check = nothing.reduce((sum, zero) => sum.add(zero), loss.mul(0));
    await run([loss, check, ...made], options);
    const [value, zero] = [await loss.item(), await check.item()];
    check.dispose();
    if (!Number.isFinite(value) || zero !== 0) {
      for (const tensor of made) tensor.dispose();
      const what = Number.isFinite(value) ? 'the parameters would not be finite' : `the loss is ${value}`;
      throw new UserError(
        `[AdamW] step ${t}: ${what}. Nothing was changed: lower the rate (lr ${lr}), or look at the data`,
      );
    }
    this.dispose();
    this.#moments = next.map(({ m, v }) => ({ m, v }));
    for (const [i, p] of this.params.entries()) assign(p, next[i]!.p);
    this.steps = t;
    return value;
  }

  /** What a later run needs to go on as this one would, in the order of `params`; names as torch has them. */
  async state_dict(): Promise<AdamWState> {
    const state = this.#moments.map(async ({ m, v }) => ({ exp_avg: await m.data(), exp_avg_sq: await v.data() }));
    return { step: this.steps, state: await Promise.all(state) };
  }
  /** Takes over what `state_dict` gave. Throws where it is of other parameters. */
  load_state_dict(given: AdamWState): void {
    checkOptions('AdamW', given, 'await optimizer.state_dict()', 'state');
    const { step, state } = given;
    if (!Array.isArray(state)) throw new TypeError(`[AdamW] state: got ${describe(state)}, want what state_dict gives`);
    const fits = this.params.every((p, i) =>
      [state[i]?.exp_avg, state[i]?.exp_avg_sq].every((x) => x?.length === p.size),
    );
    if (!fits || state.length !== this.params.length) {
      throw new RangeError(`[AdamW] state: got that of other parameters, want ${this.params.length} as they are here`);
    }
    this.dispose();
    this.#moments = this.params.map(({ shape }, i) => {
      const { exp_avg, exp_avg_sq } = state[i]!;
      return { m: tensor(exp_avg, shape, { dtype: 'f32' }), v: tensor(exp_avg_sq, shape, { dtype: 'f32' }) };
    });
    this.steps = step;
  }

  /** Frees the moments; the parameters stay. */
  dispose(): void {
    for (const { m, v } of this.#moments) for (const t of [m, v]) t.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
