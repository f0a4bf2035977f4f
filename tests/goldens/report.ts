// What comes out of a case: its outputs compared, those that could not be, and both as text.
import type { Row } from './compare.ts';
import type { Call, Golden } from './golden.ts';

export type Missing = { call: string; output: string; why: string };
export type Report = { case: string; outputs: Row[]; missing: Missing[] };

export const isGood = ({ outputs, missing }: Report): boolean => missing.length === 0 && outputs.every(({ ok }) => ok);

/** All outputs of a call; the call itself when it names none. */
export function missingOf(call: Call, why: string): Missing[] {
  const outputs = Object.keys(call.outputs);
  return (outputs.length > 0 ? outputs : ['']).map((output) => ({ call: call.name, output, why }));
}

/** The report of a case of which nothing could be run. */
export function allMissing(golden: Golden, why: string): Report {
  const missing = golden.calls.flatMap((call) => missingOf(call, why));
  return { case: golden.name, outputs: [], missing: missing.length > 0 ? missing : [{ call: '', output: '', why }] };
}

const counts = (reports: readonly Report[]): string => {
  const rows = reports.flatMap(({ outputs }) => outputs);
  const good = rows.filter(({ ok }) => ok).length;
  const missing = reports.reduce((n, report) => n + report.missing.length, 0);
  return `${good} ok, ${rows.length - good} off, ${missing} missing`;
};

const short = (x: number): string => (x === 0 ? '0' : x.toExponential(2));

function rowText({ call, output, ok, max_abs, scale, f32_error, sha256, why }: Row): string {
  const difference = max_abs === null ? 'none' : short(max_abs);
  const numbers = `max|d| ${difference.padEnd(7)}  scale ${String(scale).padEnd(8)}  f32_error ${short(f32_error)}`;
  const note = why ? `\n       ${why.length > 400 ? `${why.slice(0, 400)}...` : why}` : '';
  return `  ${ok ? 'ok ' : 'OFF'}  ${`${call}/${output}`.padEnd(28)}  ${numbers.padEnd(52)}  sha256 ${sha256}${note}`;
}

/** A line for each output; missing ones together where the reason is the same. */
export function caseText(report: Report): string {
  const reasons = new Map<string, string[]>();
  for (const { call, output, why } of report.missing)
    reasons.set(why, [...(reasons.get(why) ?? []), `${call}/${output}`]);
  const missing = [...reasons].map(([why, outputs]) => {
    const few = outputs.length > 6 ? [...outputs.slice(0, 5), `${outputs.length - 5} more`] : outputs;
    return `  MISSING  ${why}\n       ${few.join('  ')}`;
  });
  return [`${report.case}: ${counts([report])}`, ...report.outputs.map(rowText), ...missing].join('\n');
}

export const summaryText = (reports: readonly Report[]): string => `${reports.length} cases: ${counts(reports)}`;
