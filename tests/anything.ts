// What somebody without types may give, in the place of each argument in turn.
import { tensor } from '../src/index.ts';

const JUNK = [
  ...[undefined, null, 3, -1, 0.5, Number.NaN, 2 ** 40, 'x', true, {}, [], [1], ['x'], [null], [{}], 5n, new Map()],
  ...[() => 1, new Float32Array(2), tensor([[1, 2]]), tensor([[0, 1]], { dtype: 'i32' })],
];

/** Arguments with each of them, and each field of those that are options, replaced; by the most telling ones alone. */
export function* replaced(args: readonly unknown[], few = false): Generator<[what: string, args: unknown[]]> {
  const all = few ? [null, 3, 'x', {}, [null]] : JUNK;
  for (const [i, arg] of args.entries()) {
    const put = (value: unknown) => args.map((other, j) => (j === i ? value : other));
    const fields = arg?.constructor === Object ? (arg as Record<string, unknown>) : {};
    for (const junk of all) {
      yield [`${i}: ${String(junk)}`, put(junk)];
      for (const key of Object.keys(fields)) yield [`${i}.${key}: ${String(junk)}`, put({ ...fields, [key]: junk })];
    }
  }
}

/** What a call is answered with: nothing, or the text of its error. */
export async function answerTo(call: () => unknown): Promise<string> {
  try {
    const made = await call();
    if (Symbol.asyncIterator in Object(made)) for await (const _ of made as AsyncIterable<unknown>);
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : `no error: ${String(error)}`;
  }
}

/** Whether that is in words, and not what broke inside. */
export const isInWords = (answer: string): boolean => answer === '' || /^\[[^\]]+\] /.test(answer);
