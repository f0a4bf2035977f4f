// One graph at a time: plans share slots, and a tensor that two callers want is computed once.
let turn: Promise<unknown> = Promise.resolve();

/** Runs `work` after all earlier work. */
export function serial<T>(work: () => Promise<T>): Promise<T> {
  const result = turn.then(work);
  turn = result.catch(() => {});
  return result;
}
