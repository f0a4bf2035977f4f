// What is minimised. N = rows, C = classes.
import { arange, tensor } from '../ops/index.ts';
import { checkNumber, checkOptions, checkTensors, describe } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';

export type CrossEntropyOptions = { /** Rows with this target do not count. */ ignore_index?: number };

/**
 * Mean of -log softmax(logits)[target], as torch.nn.functional.cross_entropy. logits: [N, C], target: i32 or u32 [N]. A target
 * out of range throws where its values are still on the host; one that was computed is taken to the nearest class.
 */
export function cross_entropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  checkTensors('cross_entropy', { logits, target });
  checkOptions('cross_entropy', options, '{ ignore_index: 0 }');
  const { ignore_index = -100 } = options;
  if (logits.rank !== 2 || target.rank !== 1 || target.shape[0] !== logits.shape[0]) {
    throw new RangeError(
      `[cross_entropy] shapes: got logits [${logits.shape}], target [${target.shape}]; want [N, C] and [N]`,
    );
  }
  const { host } = target.base;
  const wrong = host && [...host].find((t) => t !== ignore_index && (t < 0 || t >= logits.shape[1]!));
  if (wrong !== undefined && wrong !== null) {
    throw new RangeError(
      `[cross_entropy] target: got ${wrong}, want 0..${logits.shape[1]! - 1} or ignore_index ${ignore_index}`,
    );
  }
  const counts = target.ne(ignore_index).to('f32');
  const index = counts.ne(0).where(target, 0).unsqueeze(1);
  const chosen = logits.to('f32').log_softmax(-1).gather(1, index).squeeze(1);
  return chosen.mul(counts).sum().div(counts.sum()).neg();
}

/** CLIP's loss of similarities [N, N] whose diagonal belongs together: the mean of both directions' cross entropy. */
export function contrastive_loss(logits: Tensor): Tensor {
  checkTensors('contrastive_loss', { logits });
  const target = arange(logits.shape[0]!);
  return cross_entropy(logits, target)
    .add(cross_entropy(logits.transpose(0, 1), target))
    .mul(0.5);
}

/** The mean of (input - target)^2. */
export function mse_loss(input: Tensor, target: Tensor): Tensor {
  checkTensors('mse_loss', { input, target });
  return input.sub(target).square().mean();
}

/** The mean distance of vectors [..., D] from their targets: what GILL and NExT-GPT align with, and call mse. */
export function l2_loss(input: Tensor, target: Tensor): Tensor {
  checkTensors('l2_loss', { input, target });
  return input.sub(target).square().sum(-1).sqrt().mean();
}

/**
 * How far a prediction [B, ...] is from the noise (or whatever it is trained on). With `snr`, the ratios of signal to noise of
 * each row's timestep, rows of little noise count less: by min(snr, gamma) / snr (Hang et al. 2023, arXiv:2303.09556).
 */
export function noise_loss(
  prediction: Tensor,
  target: Tensor,
  options: { snr?: readonly number[]; gamma?: number } = {},
): Tensor {
  checkTensors('noise_loss', { prediction, target });
  checkOptions('noise_loss', options, '{ snr: [0.5, 2] }');
  const { snr, gamma = 5 } = options;
  if (!snr) return mse_loss(prediction, target);
  if (!Array.isArray(snr)) throw new TypeError(`[noise_loss] snr: got ${describe(snr)}, want a number for each row`);
  checkNumber('noise_loss', 'gamma', gamma);
  const rows = prediction.sub(target).square().flatten(1).mean(1);
  return rows.mul(tensor(snr.map((ratio) => Math.min(1, gamma / ratio)))).mean();
}
