// What the terminal can show: colours, pictures, bars. The environment comes in as an argument.
import { encodePng } from '../io/image.ts';
import { overWhite, type Pixels } from '../io/pixels.ts';
import { resize } from '../io/resize.ts';

type Environment = Record<string, string | undefined>;
type Stream = { isTTY?: boolean; hasColors?(count: number, env: object): boolean };

export type Terminal = {
  colour: boolean;
  /** How pictures are shown: kitty's or iTerm2's escape, half blocks in 24-bit colour, or not at all. */
  pictures: 'kitty' | 'iterm2' | 'blocks' | 'none';
};

export function terminalOf(stream: Stream, env: Environment): Terminal {
  const colour = stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'; // https://no-color.org
  return { colour, pictures: colour ? picturesOf(stream, env) : 'none' };
}

function picturesOf(stream: Stream, env: Environment): Terminal['pictures'] {
  const inside = env.TMUX || /^(screen|tmux)/.test(env.TERM ?? ''); // they pass no pictures on
  if (!inside) {
    if (env.KITTY_WINDOW_ID || /kitty|ghostty/.test(`${env.TERM} ${env.TERM_PROGRAM}`)) return 'kitty';
    if (/iTerm|WezTerm/.test(env.TERM_PROGRAM ?? '') || env.LC_TERMINAL === 'iTerm2') return 'iterm2';
  }
  const isTrue = /truecolor|24bit/.test(env.COLORTERM ?? '') || stream.hasColors?.(2 ** 24, env) === true;
  return isTrue ? 'blocks' : 'none';
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, cyan: 36 };

/** Text in a colour, where there are colours. */
export const paint = ({ colour }: Terminal, code: keyof typeof CODES, text: string): string =>
  colour ? `\x1b[${CODES[code]}m${text}\x1b[0m` : text;

const EIGHTHS = ' ▏▎▍▌▋▊▉█';

/** A bar for a share of 0 to 1, always `width` wide. */
export function bar(share: number, width = 20): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const text = '█'.repeat(Math.floor(eighths / 8)) + (eighths % 8 ? EIGHTHS[eighths % 8] : '');
  return text.padEnd(width);
}

/** `93.1 %`, always 7 wide. */
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`.padStart(7);

const COLUMNS = 16;
const ROWS = COLUMNS / 2; // a cell is about twice as high as wide
/** Columns of a picture and the gap to the text beside it. */
const WIDTH = COLUMNS + 2;

/** Columns of the text beside a picture, of those of the terminal. */
export const roomBeside = ({ pictures }: Terminal, columns = 100): number =>
  Math.max(40, Math.min(120, columns) - (pictures === 'none' ? 0 : WIDTH));

/** Lines of text with a picture on their left, as far as the terminal can. */
export async function beside(image: Pixels, lines: readonly string[], { pictures }: Terminal): Promise<string> {
  const rows = Array.from(
    { length: pictures === 'none' ? lines.length : Math.max(ROWS, lines.length) },
    (_, i) => lines[i] ?? '',
  );
  if (pictures === 'none') return rows.join('\n');
  if (pictures === 'blocks') {
    const blocks = halfBlocks(image);
    return rows.map((line, i) => `${blocks[i] ?? ' '.repeat(COLUMNS)}  ${line}`).join('\n');
  }
  // room first, so that nothing scrolls under the picture; then back up, the picture, the text
  const room = `${'\n'.repeat(rows.length)}\x1b[${rows.length}A`;
  const text = rows.map((line) => `\x1b[${WIDTH}C${line}`).join('\n');
  return `${room}\x1b7${await sequence(image, pictures)}\x1b8${text}`;
}

/** Two pixels a cell: the upper as the colour of ▀, the lower as its background. */
function halfBlocks(image: Pixels): string[] {
  const { data } = resize(overWhite(image), COLUMNS, 2 * ROWS);
  const colour = (x: number, y: number) => data.subarray(3 * (y * COLUMNS + x), 3 * (y * COLUMNS + x) + 3).join(';');
  return Array.from({ length: ROWS }, (_, row) => {
    const cells = Array.from(
      { length: COLUMNS },
      (_, x) => `\x1b[38;2;${colour(x, 2 * row)};48;2;${colour(x, 2 * row + 1)}m▀`,
    );
    return `${cells.join('')}\x1b[0m`;
  });
}

/** https://sw.kovidgoyal.net/kitty/graphics-protocol, https://iterm2.com/documentation-images.html */
async function sequence(image: Pixels, protocol: 'kitty' | 'iterm2'): Promise<string> {
  const png = await encodePng(resize(overWhite(image), 160, 160));
  const base64 = Buffer.from(png).toString('base64');
  if (protocol === 'iterm2') {
    return `\x1b]1337;File=inline=1;width=${COLUMNS};height=${ROWS};preserveAspectRatio=0;size=${png.length}:${base64}\x07`;
  }
  const parts = base64.match(/.{1,4096}/gs) ?? [];
  return parts
    .map((part, i) => {
      const first = i === 0 ? `a=T,f=100,q=2,C=1,c=${COLUMNS},r=${ROWS},` : '';
      return `\x1b_G${first}m=${i < parts.length - 1 ? 1 : 0};${part}\x1b\\`;
    })
    .join('');
}
