// Attention over long sequences, some queries at a time.
import { isContiguous, numel } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { concat } from './concat.ts';

const MOST_SCORES = 2 ** 25; // 128 MiB, which every adapter can bind

type Seen = { attn_mask?: Tensor | undefined; is_causal?: boolean | undefined };

/**
 * `attend` with as many queries at a time as have at most `most` scores; undefined where that is all of them. Queries know
 * nothing of each other, so results have the same bits; causal pieces do not see the keys that are hidden from all of theirs.
 */
export function byQueries<O extends Seen>(
  attend: (q: Tensor, k: Tensor, v: Tensor, options: O) => Tensor,
  [q, k, v]: Tensor[],
  options: O,
  most = MOST_SCORES,
): Tensor | undefined {
  const [L, S] = [q!.shape.at(-2)!, k!.shape.at(-2)!];
  const rows = Math.max(1, Math.floor(most / (numel(q!.shape.slice(0, -2)) * S)));
  if (rows >= L || (options.is_causal && L > S)) return undefined; // the first may see no key, and then see all alike
  const pieces = Array.from({ length: Math.ceil(L / rows) }, (_, i) => {
    const [start, end] = [i * rows, Math.min(L, (i + 1) * rows)];
    const seen = options.is_causal ? end + S - L : S;
    const mask = options.attn_mask?.narrow(-2, start, end - start).narrow(-1, 0, seen);
    const [keys, values] = [k!.narrow(-2, 0, seen), v!.narrow(-2, 0, seen)];
    return attend(q!.narrow(-2, start, end - start), keys, values, { ...options, attn_mask: mask });
  });
  const turn = (t: Tensor) => t.transpose(-3, -2);
  const first = pieces[0]!;
  const isTurned = first.rank > 2 && isContiguous(turn(first).shape, turn(first).layout); // heads lie side by side
  return isTurned ? turn(concat(pieces.map(turn), -3)) : concat(pieces, -2);
}
