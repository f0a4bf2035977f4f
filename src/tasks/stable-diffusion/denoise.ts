// The loop of diffusion: from noise to latents, a step at a time. All tensors stay on the device; a step is one recorded
// plan whose coefficients change.
import { UserError } from '../../io/error.ts';
import { sinusoids } from '../../nn/timestep.ts';
import { concat } from '../../ops/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { firstBroken } from '../finite.ts';
import type { Recorded, Scheduler } from '../schedulers/scheduler.ts';
import { type Arguments, asTensors, Steps, type Values } from '../steps.ts';
import type { Parts } from './parts.ts';

/** Where normal numbers come from: a Generator, or anything that gives them in the same order. */
export type Random = { randn(shape: readonly number[]): Tensor };

export type Denoising = {
  /** Its timesteps are set, and where it begins. */
  scheduler: Scheduler;
  /** First place in its timesteps. */
  begin: number;
  /** [B, Z, h, w]; the caller's own. */
  latents: Tensor;
  /** [B, L, D], or with guidance [2 B, L, D]: those of the negative prompts first. The caller's own, as all below. */
  context: Tensor;
  guidance_scale: number;
  guidance_rescale: number;
  eta: number;
  generator: Random;
  /** Channels that the U-Net sees beside the latents, [B, C, h, w] (inpainting models: the mask and what is kept). */
  seen?: Tensor | undefined;
  /** What becomes of the latents behind a step, before the one at timestep `next`. */
  after?: ((latents: Tensor, next: number | undefined) => Tensor) | undefined;
  signal?: AbortSignal | undefined;
};

export type Denoised = {
  /** Counted from 0, of `steps`. */
  step: number;
  steps: number;
  timestep: number;
  /** Behind the step, and behind `after`. Disposed of when the next step is asked for. */
  latents: Tensor;
  /** The picture's latents as predicted at this step. */
  pred_original_sample: Tensor;
  /** What the U-Net predicts, guided. */
  model_output: Tensor;
  /** Before `after`. */
  prev_sample: Tensor;
};

const steps = new Steps();

/** Classifier-free guidance, Ho and Salimans 2022, arXiv:2207.12598; `rescale`: arXiv:2305.08891, section 3.4. */
function guide(output: Tensor, scale: Tensor, rescale: Tensor | undefined): Tensor {
  const [free, asked] = output.split(output.shape[0]! / 2) as [Tensor, Tensor];
  const guided = free.add(asked.sub(free).mul(scale));
  if (!rescale) return guided;
  const deviation = (x: Tensor) => {
    const rows = x.flatten(1);
    return rows.sub(rows.mean(-1, true)).square().mean(-1).sqrt().reshape([-1, 1, 1, 1]);
  };
  const factor = deviation(asked).div(deviation(guided));
  return guided.mul(factor.sub(1).mul(rescale).add(1));
}

/** One step as ops. */
function record(unet: Parts['unet'], scheduler: Scheduler, a: Values): Values {
  const input = scheduler.scale(a);
  const whole = a.seen ? concat([input, a.seen], 1) : input;
  const sample = a.guidance ? concat([whole, whole]) : whole;
  const { sample: output } = unet.forward({
    ...{ sample, timestep: a.timestep!, encoder_hidden_states: a.context!, timestep_cond: a.timestep_cond },
  });
  const model_output = a.guidance ? guide(output, a.guidance, a.rescale) : output;
  const result = scheduler.combine(a, model_output);
  const { prev_sample } = result;
  // 0, or NaN where anything of it is no finite number
  return { ...result, model_output, finite: prev_sample.mul(0).sum() };
}

/** Whether two predictions are made and compared at each step: an LCM is told the scale instead. */
export const isGuided = ({ unet }: Parts, guidance_scale: number): boolean =>
  guidance_scale > 1 && !unet.config.time_cond_proj_dim;

/** The steps; the last one's latents are the result. What it yields is its own, and there until the next is asked for. */
export async function* denoise(parts: Parts, d: Denoising): AsyncGenerator<Denoised> {
  const { unet } = parts;
  const { scheduler, begin, eta, generator, signal, guidance_scale } = d;
  const { timesteps } = scheduler;
  const cond_dim = unet.config.time_cond_proj_dim as number | null | undefined;
  const fixed = {
    context: d.context,
    ...(d.seen && { seen: d.seen }),
    ...(cond_dim && { timestep_cond: sinusoids([1000 * (guidance_scale - 1)], cond_dim) }),
    ...(isGuided(parts, guidance_scale) && {
      guidance: guidance_scale,
      ...(d.guidance_rescale > 0 && { rescale: d.guidance_rescale }),
    }),
  };
  const own = new Set<Tensor>(); // bases: results may share one
  const keepOnly = (...needed: (Tensor | undefined)[]) => {
    for (const t of own) {
      if (needed.some((other) => other?.base === t)) continue;
      t.dispose();
      own.delete(t);
    }
  };
  let sample = d.latents;
  try {
    for (let i = begin; i < timesteps.length; i++) {
      keepOnly(sample, ...scheduler.history);
      signal?.throwIfAborted();
      const timestep = timesteps[i]!;
      const noise = scheduler.takes_noise(i, { eta }) ? generator.randn(sample.shape) : undefined;
      const embedded = unet.time_proj([timestep]);
      const args = { ...scheduler.inputs(i, sample, { eta, noise }), ...fixed, timestep: embedded };
      const recorded = (a: Values) => record(unet, scheduler, a);
      const result = (await steps.run(unet, scheduler.config, args, recorded, { signal })) as Values & Recorded;
      for (const t of [...Object.values(result), embedded, ...(noise ? [noise] : [])]) own.add(t.base);
      if (Number.isNaN(await result.finite!.item())) throw await notFinite(unet, scheduler, args, i - begin);
      scheduler.accept(result, sample);
      const { prev_sample, pred_original_sample } = result;
      sample = d.after ? await d.after(prev_sample, timesteps[i + 1]).realize() : prev_sample;
      own.add(sample.base);
      yield {
        ...{ step: i - begin, steps: timesteps.length - begin, timestep },
        ...{ latents: sample, pred_original_sample, model_output: result.model_output!, prev_sample },
      };
    }
  } finally {
    keepOnly();
  }
}

/** The part of the U-Net that a weight is in: `down_blocks.0`, `conv_in`. */
const blockOf = (path: string): string => /^(?:\w+_blocks\.\d+|[^.]+)/.exec(path)![0];

/** Where a step first went wrong, and what helps. */
async function notFinite(unet: Parts['unet'], scheduler: Scheduler, args: Arguments, step: number): Promise<UserError> {
  const blocks = [...new Set([...unet.named_parameters().keys()].map(blockOf))];
  const taps = blocks.map((block) => unet.tap(block));
  try {
    record(unet, scheduler, asTensors(args));
  } finally {
    for (const tap of taps) tap.close();
  }
  const block = blocks[await firstBroken(taps.map((tap) => tap.output))];
  const types = new Set([...unet.named_parameters().values()].map(({ dtype }) => dtype));
  const low = [...types].filter((dtype) => dtype !== 'f32');
  const help =
    low.length === 0
      ? 'its weights are f32: are the latents, the embeddings and the checkpoint sound?'
      : `its weights are ${low.join(', ')}: load them with dtype { 'unet${block ? `.${block}` : ''}': 'f32', default: '${low[0]}' }`;
  return new UserError(
    `[unet] step ${step + 1}: values that are no finite numbers, first in ${block ?? 'the step'}; ${help}`,
  );
}
