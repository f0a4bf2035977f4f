// A loss as a picture.
import { xml } from './text.ts';

const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM] = [720, 360, 60, 40, 40];
const SMOOTH = 0.05; // the share of the newest loss in the running mean

/** SVG of the losses of all steps (pale), their running mean, and losses of what was not learned from. */
export function curve(
  title: string,
  losses: readonly number[],
  held: readonly { step: number; loss: number }[],
): string {
  const most = Math.max(...losses, ...held.map(({ loss }) => loss), 1e-6);
  const right = WIDTH - 20;
  const x = (step: number) => LEFT + ((right - LEFT) * step) / Math.max(1, losses.length);
  const y = (loss: number) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * loss) / most;
  const points = (list: readonly (readonly [number, number])[]) =>
    list.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(' ');
  let mean = losses[0] ?? 0;
  const smooth = losses.map((loss, i) => {
    const share = Math.max(SMOOTH, 1 / (i + 1));
    mean += share * (loss - mean);
    return [i + 1, mean] as const;
  });
  const line = (list: readonly (readonly [number, number])[], colour: string, width: number) =>
    `<polyline fill="none" stroke="${colour}" stroke-width="${width}" points="${points(list)}"/>`;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const at = y(most * share).toFixed(1);
    const label = (most * share).toPrecision(2);
    return `<path stroke="#ddd" d="M${LEFT} ${at}H${right}"/><text x="${LEFT - 8}" y="${at}" text-anchor="end">${label}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/><text x="${LEFT}" y="20" font-size="14">${xml(title)}</text>
${ticks.join('\n')}
<text x="${right}" y="${HEIGHT - 14}" text-anchor="end">step ${losses.length}</text>
${line(
  losses.map((loss, i) => [i + 1, loss] as const),
  '#bcd',
  1,
)}
${line(smooth, '#06c', 2)}
${line(
  held.map(({ step, loss }) => [step, loss] as const),
  '#c60',
  2,
)}
<text x="${right}" y="${TOP - 6}" text-anchor="end" fill="#c60">unseen scenes</text>
<text x="${right - 110}" y="${TOP - 6}" text-anchor="end" fill="#06c">training</text>
</svg>
`;
}
