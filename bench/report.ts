// What a run says: lines for a terminal, JSON for files and scripts.
import type { Row } from './harness.ts';

const time = (us: number | null | undefined): string => {
  if (us === null || us === undefined) return '-';
  if (us < 1000) return `${us.toFixed(0)} us`;
  return us < 1e6 ? `${(us / 1e3).toFixed(us < 1e4 ? 2 : 1)} ms` : `${(us / 1e6).toFixed(2)} s`;
};
const percent = (x: number | undefined) => (x === undefined ? '' : `${x.toFixed(0)} %`);
const times = (x: number | null) => (x === null ? '-' : `${x.toFixed(2)}x`);

type Column = [title: string, width: number, cell: (row: Row) => string];

/** A printer of rows: `head()` once, then `line(row)` for each. */
export function table(peers: readonly (keyof Row['peers'])[], old?: readonly Row[]) {
  const before = (row: Row) => old?.find((o) => o.kernel === row.kernel && o.shape === row.shape)?.ours_us;
  const columns: Column[] = [
    ['kernel', -11, (r) => r.kernel],
    ['shape', -22, (r) => r.shape],
    ['time', 9, (r) => time(r.ours_us)],
    ...peers.map((p): Column => [p, 12, (r) => time(r.peers[p])]),
    ...(peers.length > 0 ? [['ratio', 8, (r) => times(r.ratio)] as Column] : []),
    ['GFLOP/s', 8, (r) => r.gflops?.toFixed(1) ?? ''],
    ['GB/s', 7, (r) => r.gbps?.toFixed(2) ?? ''],
    ['of fma', 7, (r) => percent(r.percent_of_fma)],
    ['of copy', 8, (r) => percent(r.percent_of_copy)],
    ['dispatches', 10, (r) => r.dispatches?.toFixed(0) ?? ''],
    ...(old
      ? ([
          ['before', 9, (r) => time(before(r))],
          ['gain', 7, (r) => (r.ours_us && before(r) ? times(before(r)! / r.ours_us) : '-')],
        ] as Column[])
      : []),
    ['', -9, (r) => (r.unstable ? ' unstable' : '')],
  ];
  const pad = (text: string, width: number) => (width < 0 ? text.padEnd(-width) : text.padStart(width));
  return {
    head: () =>
      columns
        .map(([title, width]) => pad(title, width))
        .join(' ')
        .trimEnd(),
    line: (row: Row) => {
      const cells = columns.map(([, width, cell]) => pad(cell(row), width));
      const notes = Object.entries(row.notes).map(([side, note]) => `\n    ${side}: ${note}`);
      return cells.join(' ').trimEnd() + notes.join('');
    },
  };
}

/** The geometric mean of the ratios, in words; nothing where no peer ran. */
export function summary(rows: readonly Row[]): string {
  const ratios = rows.flatMap(({ ratio }) => (ratio === null ? [] : [ratio]));
  if (ratios.length === 0) return '';
  const mean = Math.exp(ratios.reduce((sum, r) => sum + Math.log(r), 0) / ratios.length);
  return `geometric mean of ${ratios.length} ratios (fastest peer / tessera): ${mean.toFixed(2)}x`;
}

/** Three digits are what a time is worth. */
export const toJson = (report: object): string =>
  JSON.stringify(report, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value));
