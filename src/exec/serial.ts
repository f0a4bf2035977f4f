// Work that is done one after the other.

/** A function that runs each `work` after all that it was given before. */
export function queue() {
  let turn: Promise<unknown> = Promise.resolve();
  return <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work);
    turn = result.catch(() => {});
    return result;
  };
}

/** One graph at a time: plans share slots, and a tensor that two callers want is computed once. */
export const serial = queue();
