// Columns of text, and sizes and times as people read them.
import { pad, widest } from './text.ts';

/** Rows of cells as lines: columns two spaces apart, the first `left` of them to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[], left = 1): string[] {
  const widths = (rows[0] ?? []).map((_, i) => widest(rows.map((row) => row[i]!)));
  const cell = (text: string, i: number) => (i < left ? pad(text, widths[i]!) : text.padStart(widths[i]!));
  return rows.map((row) => row.map(cell).join('  ').trimEnd());
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function size(bytes: number): string {
  const unit = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${unit === 0 ? bytes : (bytes / 1000 ** unit).toFixed(1)} ${UNITS[unit]}`;
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
