// biome-ignore-all lint/suspicious/noControlCharactersInRegex: terminals are told what to do by control characters
// What a terminal shows, as an SVG: the picture of a run in README.md. Arguments: which paragraphs of the run, -1 the last.
//   COLORTERM=truecolor script -qec "stty cols 100; node dist/cli.js start --adapter swiftshader 2>/dev/null" /dev/null |
//     node docs/picture.js 0 1 2 21 22 23 28 29 30 33 34 35 36 37 > docs/start.svg
import process from 'node:process';
import { text } from 'node:stream/consumers';

const COLUMNS = 100;
const [W, H] = [8, 17]; // of a cell
const COLOURS = { 31: '#f47067', 32: '#57ab5a', 36: '#39c5cf' };
const NORMAL = { fill: '#d1d7e0', bold: false, dim: false };

/** Lines of cells { ch, fill, behind, bold, dim }, long ones cut at a space. */
function read(run) {
  const lines = [];
  for (const line of run.split(/\r?\n/)) {
    let style = NORMAL;
    const cells = [];
    for (const [part, codes, ch] of line.matchAll(/\x1b\[([\d;]*)[A-Za-z]|([\s\S])/gu)) {
      if (ch === undefined) {
        if (part.endsWith('m')) style = styled(style, codes);
        continue;
      }
      if (cells.length === COLUMNS) {
        lines.push(cells.splice(0, 1 + cells.findLastIndex((cell) => cell.ch === ' ')));
      }
      cells.push({ ch, ...style });
    }
    lines.push(cells);
  }
  return lines;
}

function styled(style, codes) {
  const [, fill, behind] = /^38;2;(\d+;\d+;\d+);48;2;(\d+;\d+;\d+)$/.exec(codes) ?? [];
  if (fill) return { ...style, fill: hex(fill), behind: hex(behind) };
  if (codes === '1') return { ...style, bold: true };
  if (codes === '2') return { ...style, dim: true };
  return COLOURS[codes] ? { ...style, fill: COLOURS[codes] } : NORMAL;
}

const hex = (rgb) =>
  `#${rgb
    .split(';')
    .map((n) => Number(n).toString(16).padStart(2, '0'))
    .join('')}`;
const escaped = (chars) => chars.replace(/[&<]/g, (c) => (c === '&' ? '&amp;' : '&lt;'));

/** Neighbours that look the same, as [first, cells]. */
function runs(cells, look) {
  const found = [];
  for (const [i, cell] of cells.entries()) {
    const last = found.at(-1);
    if (last && look(last[1][0]) === look(cell)) last[1].push(cell);
    else found.push([i, [cell]]);
  }
  return found;
}

function draw(lines) {
  const shapes = [];
  for (const [y, cells] of lines.entries()) {
    const halves = cells.map((cell) => (cell.ch === '▀' ? cell : undefined));
    for (const [half, key] of [
      [0, 'fill'],
      [1, 'behind'],
    ]) {
      for (const [x, same] of runs(halves, (cell) => cell?.[key])) {
        if (!same[0]) continue;
        const top = (y + half / 2) * H;
        shapes.push(
          `<path fill="${same[0][key]}" d="M${x * W} ${top}h${same.length * W}v${H / 2}h${-same.length * W}z"/>`,
        );
      }
    }
    const look = ({ ch, fill, bold, dim }) => [ch === '▀' || ch === ' ', ch === '▀', fill, bold, dim].join();
    for (const [x, same] of runs(cells, look)) {
      const chars = same.map(({ ch }) => ch).join('');
      if (chars.trim() === '' || same[0].ch === '▀') continue;
      const { fill, bold, dim } = same[0];
      const weight = `${bold ? ' font-weight="bold"' : ''}${dim ? ' opacity=".6"' : ''}`;
      shapes.push(
        `<text x="${x * W}" y="${y * H + 13}" textLength="${same.length * W}" fill="${fill}"${weight}>${escaped(chars)}</text>`,
      );
    }
  }
  const [width, height] = [COLUMNS * W + 32, lines.length * H + 32];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="-16 -16 ${width} ${height}" font-family="ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="13" shape-rendering="crispEdges">
<rect x="-16" y="-16" width="${width}" height="${height}" rx="10" fill="#1c2128" shape-rendering="auto"/>
${shapes.join('\n')}
</svg>
`;
}

const paragraphs = (await text(process.stdin)).trim().split(/\r?\n\r?\n/);
const chosen = process.argv.slice(2).map((n) => paragraphs.at(Number(n)));
process.stdout.write(draw(read(chosen.join('\n\n'))));
