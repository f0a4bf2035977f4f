// The reports of several runs against each other: who is wrong, whose bits differ, and the table of both.
import type { Report, Result } from './suite.ts';

/** One run: in a runtime, on an adapter. */
export type Run = { label: string; report?: Report; error?: string };
export type Comparison = {
  /** Equal and right results by group and label, and how many there are of each group. */
  groups: Map<string, { count: number; equal: Map<string, number> }>;
  /** What started at all. */
  failed: string[];
  wrong: string[];
  /** Names whose bits are not the same everywhere, and who has which. */
  unequal: string[];
};

/** Every result is expected of every run. What most runs have counts as equal, of as many what the first has. */
export function compare(runs: readonly Run[]): Comparison {
  const comparison: Comparison = { groups: new Map(), failed: [], wrong: [], unequal: [] };
  const byName = new Map<string, Map<string, Result>>();
  for (const { label, report, error } of runs) {
    if (!report) comparison.failed.push(`${label}: ${error}`);
    for (const result of report?.results ?? []) {
      const key = `${result.group}: ${result.name}`;
      const of = byName.get(key) ?? new Map<string, Result>();
      if (of.has(label)) comparison.wrong.push(`${key} [${label}]: computed twice`);
      byName.set(key, of.set(label, result));
      if (!result.ok) comparison.wrong.push(`${key} [${label}]: ${result.why}`);
    }
  }
  const started = runs.filter(({ report }) => report).map(({ label }) => label);
  for (const [key, of] of byName) {
    const [{ group }] = of.values() as Iterable<Result> as [Result];
    const row = comparison.groups.get(group) ?? { count: 0, equal: new Map<string, number>() };
    comparison.groups.set(group, row);
    row.count++;
    const holders = new Map<string, string[]>();
    for (const label of started) {
      const hash = of.get(label)?.sha256 || 'none';
      holders.set(hash, [...(holders.get(hash) ?? []), label]);
    }
    const [most] = [...holders].sort((a, b) => b[1].length - a[1].length)[0]!;
    for (const [label, { ok, sha256 }] of of) {
      if (ok && sha256 === most) row.equal.set(label, (row.equal.get(label) ?? 0) + 1);
    }
    if (holders.size === 1) continue;
    const who = [...holders].map(([hash, labels]) => `${hash.slice(0, 8)} ${labels.join(' ')}`);
    comparison.unequal.push(`${key}: ${who.join(', ')}`);
  }
  return comparison;
}

/** Rows of groups, a column for each run; then what is not as it should be, the first of each kind. */
export function tableText(runs: readonly Run[], { groups, failed, wrong, unequal }: Comparison): string {
  const total = [...groups.values()].reduce((n, { count }) => n + count, 0);
  const seconds = runs.map(({ report }) => (report ? `${(report.ms / 1000).toFixed(1)} s` : 'failed'));
  const all = runs.map(({ label }) => [...groups.values()].reduce((n, { equal }) => n + (equal.get(label) ?? 0), 0));
  const rows: (string | number)[][] = [
    ['right, with equal bits', 'of', ...runs.map(({ label }) => label)],
    ...[...groups].map(([group, { count, equal }]) => [
      group,
      count,
      ...runs.map(({ label }) => equal.get(label) ?? 0),
    ]),
    ['all', total, ...all],
    ['time', '', ...seconds],
  ];
  const widths = rows[0]!.map((_, c) => Math.max(...rows.map((row) => String(row[c]).length)));
  const line = (row: (string | number)[]) =>
    row.map((cell, c) => (c === 0 ? String(cell).padEnd(widths[c]!) : String(cell).padStart(widths[c]!))).join('  ');
  return [...rows.map(line), ...few('failed', failed), ...few('wrong', wrong), ...few('unequal', unequal)].join('\n');
}

const few = (what: string, list: readonly string[]): string[] => {
  const shown = list.slice(0, 12).map((text) => `  ${text}`);
  if (list.length > shown.length) shown.push(`  and ${list.length - shown.length} more`);
  return list.length > 0 ? [`${what}: ${list.length}`, ...shown] : [];
};

/** How far the values of `b` are from those of `a`, relative to the largest of each output: the worst of each group. */
export function largestDifferences(a: Report, b: Report): string {
  const of = new Map(a.results.map((result) => [`${result.group}: ${result.name}`, result]));
  const groups = new Map<string, { count: number; equal: number; most: number; name: string }>();
  for (const { group, name, sha256, values } of b.results) {
    const other = of.get(`${group}: ${name}`);
    const row = groups.get(group) ?? { count: 0, equal: 0, most: 0, name: '' };
    groups.set(group, row);
    row.count++;
    if (other?.sha256 === sha256) row.equal++;
    if (!values || !other?.values) continue;
    const scale = other.values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    const difference = values.reduce((most, v, i) => Math.max(most, Math.abs(v - other.values![i]!)), 0) / scale;
    if (difference > row.most) Object.assign(row, { most: difference, name });
  }
  const lines = [...groups].map(([group, { count, equal, most, name }]) => {
    const worst = most > 0 ? `at most ${most.toExponential(1)} of the largest value: ${name}` : '';
    return `  ${group.padEnd(22)} ${`${equal} of ${count}`.padStart(10)} equal  ${worst}`.trimEnd();
  });
  return [`${b.adapter} against ${a.adapter}`, ...lines].join('\n');
}
