// Who looks on while attention is recorded.
import type { Tensor } from '../tensor/tensor.ts';

type Watcher = { readonly isWanted: boolean; note(p: Tensor): void };
let watcher: Watcher | undefined;

/** Who gets the probabilities [B, heads, L, S] of each attention that is recorded while they are wanted. */
export const watchAttention = (by: Watcher): void => {
  watcher = by;
};

export const isAttentionWanted = (): boolean => watcher?.isWanted === true;
export function tellAttention(probabilities: () => Tensor): void {
  if (!watcher?.isWanted) return;
  const p = probabilities();
  watcher.note(p.rank > 4 ? p.flatten(1, -3) : p);
}
