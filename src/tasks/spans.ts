// Rows of tokens in which something else stands for some of them: pictures in a prompt.
import type { RunOptions } from '../exec/run.ts';
import { UserError } from '../io/error.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Tokens [start, end) of a row for which embeddings stand: a picture. The same `name` is the same embeddings. */
export type Span = { row: number; start: number; end: number; name: string };
export type Row = { ids: readonly number[]; spans?: readonly Span[] | undefined };
/** Spans in the order of rows, and what stands there from one of them on: [tokens of these, D], computed where it is needed. */
export type Inserts = { spans: readonly Span[]; embeds(from: number, options: RunOptions): Promise<Tensor> };

/** How many places from the left on are the same in two rows. */
export function commonLength(a: Row, b: Row): number {
  const other = a.ids.findIndex((v, i) => v !== b.ids[i]);
  const n = other < 0 ? a.ids.length : other;
  const [p, q] = [a.spans ?? [], b.spans ?? []];
  for (let i = 0; i < Math.max(p.length, q.length); i++) {
    const [one, two] = [p[i], q[i]];
    if (one?.start === two?.start && one?.end === two?.end && one?.name === two?.name) continue;
    return Math.min(n, one?.start ?? n, two?.start ?? n);
  }
  return n;
}

/** The last places of a row, at most so many; a span that begins before them is left out with all that is before its end. */
export function lastOf<R extends Row & Partial<Inserts>>(row: R, most: number): R {
  const { ids, spans = [], embeds } = row;
  const first = ids.length - most;
  const cut = spans.find(({ start, end }) => start < first && end > first)?.end ?? first;
  const kept = spans.filter(({ start }) => start >= cut);
  const dropped = spans.length - kept.length;
  return {
    ...row,
    ids: ids.slice(cut),
    spans: kept.map((span) => ({ ...span, start: span.start - cut, end: span.end - cut })),
    ...(embeds && { embeds: (from: number, options: RunOptions) => embeds(from + dropped, options) }),
  };
}

/** Of each row the places that hold a token. */
const placesOf = (rows: readonly (readonly number[])[], token: number) =>
  rows.flatMap((ids, row) => ids.flatMap((id, at) => (id === token ? [{ row, at }] : [])));

/**
 * Where pictures of some lengths stand: each takes the next placeholders, which may lie apart. Throws a UserError with both
 * counts where placeholders and pictures do not match.
 */
export function place(
  rows: readonly (readonly number[])[],
  token: number,
  pictures: readonly { name: string; length: number }[],
): Span[] {
  const places = placesOf(rows, token);
  const wanted = pictures.reduce((n, { length }) => n + length, 0);
  if (places.length !== wanted) {
    const of = `${pictures.length} ${pictures.length === 1 ? 'picture' : 'pictures'} of ${wanted} tokens together`;
    throw new UserError(`[llava] got ${places.length} image placeholders (token ${token}) for ${of}, want as many`);
  }
  let next = 0;
  return pictures.flatMap(({ name, length }) => {
    const own = places.slice(next, (next += length));
    const spans: Span[] = [];
    for (const [i, { row, at }] of own.entries()) {
      const last = spans.at(-1);
      if (last?.row === row && last.end === at) last.end++;
      else spans.push({ row, start: at, end: at + 1, name: i === 0 ? name : `${name} from ${i} on` });
    }
    return spans;
  });
}
