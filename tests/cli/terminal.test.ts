// What a terminal gets: colours and pictures where it can show them, plain text elsewhere.
import { describe, expect, test } from 'vitest';
import { bar, beside, paint, percent, terminalOf } from '../../src/cli/terminal.ts';
import { decodeImage } from '../../src/io/image.ts';
import { resize } from '../../src/io/resize.ts';

const ESC = '\x1b';
const tty = { isTTY: true };

test.each([
  [{}, { COLORTERM: 'truecolor' }, false, 'none'],
  [tty, { COLORTERM: 'truecolor', NO_COLOR: '1' }, false, 'none'],
  [tty, { COLORTERM: 'truecolor', TERM: 'dumb' }, false, 'none'],
  [tty, { COLORTERM: 'truecolor', NO_COLOR: '' }, true, 'blocks'],
  [tty, { TERM: 'xterm-256color' }, true, 'none'],
  [{ isTTY: true, hasColors: () => true }, {}, true, 'blocks'],
  [tty, { TERM: 'xterm-kitty' }, true, 'kitty'],
  [tty, { KITTY_WINDOW_ID: '1' }, true, 'kitty'],
  [tty, { TERM_PROGRAM: 'ghostty' }, true, 'kitty'],
  [tty, { TERM_PROGRAM: 'iTerm.app' }, true, 'iterm2'],
  [tty, { LC_TERMINAL: 'iTerm2' }, true, 'iterm2'],
  [tty, { TERM_PROGRAM: 'WezTerm' }, true, 'iterm2'],
  [tty, { TERM: 'tmux-256color', KITTY_WINDOW_ID: '1', COLORTERM: 'truecolor' }, true, 'blocks'],
])('%o with %o', (stream, env, colour, pictures) => {
  expect(terminalOf(stream, env)).toEqual({ colour, pictures });
});

test('bars are as long as their share, and always as wide', () => {
  expect([0, 0.5, 1].map((share) => bar(share, 4))).toEqual(['    ', '██  ', '████']);
  expect([1 / 32, 5 / 32, 31 / 32].map((share) => bar(share, 4))).toEqual(['▏   ', '▋   ', '███▉']);
  expect([-1, 2, Number.NaN].map((share) => bar(share, 4))).toEqual(['    ', '████', '    ']);
  expect([0, 0.0956, 1].map(percent)).toEqual(['  0.0 %', '  9.6 %', '100.0 %']);
});

describe('a picture beside text', () => {
  const width = 40;
  const data = Uint8Array.from({ length: width * width * 3 }, (_, i) => (i * 7) % 256);
  const image = { width, height: width, channels: 3, data };
  const show = (pictures: 'kitty' | 'iterm2' | 'blocks' | 'none', lines = ['one', 'two']) =>
    beside(image, lines, { colour: true, pictures });
  const visible = (text: string) => text.replaceAll(ESC, '␛').replaceAll('\x07', '␇');
  const decoded = async (base64: string) => decodeImage(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));

  test('is left out where there are none', async () => {
    expect(await show('none')).toBe('one\ntwo');
  });

  test('is half blocks: the upper pixel in the colour, the lower behind it', async () => {
    const rows = (await show('blocks')).split('\n');
    expect(rows).toHaveLength(8);
    const small = resize(image, 16, 16).data;
    const rgb = (x: number, y: number) => small.subarray(3 * (16 * y + x), 3 * (16 * y + x) + 3).join(';');
    expect(rows[1]).toContain(`${ESC}[38;2;${rgb(3, 2)};48;2;${rgb(3, 3)}m▀`);
    expect(rows[1]!.match(/▀/g)).toHaveLength(16);
    expect(rows[1]).toMatch(/\[0m {2}two$/);
    expect(await show('blocks', Array(10).fill('x'))).toMatch(/\n {18}x\n {18}x$/);
  });

  test("is a PNG in iTerm2's escape, with the text on its right", async () => {
    const text = await show('iterm2');
    const [, size, base64] = /␛\]1337;File=inline=1;width=16;height=8;preserveAspectRatio=0;size=(\d+):([^␇]*)␇/.exec(
      visible(text),
    )!;
    expect(atob(base64!)).toHaveLength(Number(size));
    expect((await decoded(base64!)).data).toEqual(resize(image, 160, 160).data);
    expect(text.startsWith(`${'\n'.repeat(8)}${ESC}[8A${ESC}7`)).toBe(true);
    expect(text).toContain(`${ESC}8${ESC}[18Cone\n${ESC}[18Ctwo\n`);
  });

  test("is a PNG in pieces in kitty's escape", async () => {
    const parts = [...visible(await show('kitty')).matchAll(/␛_G([^;]*);([^␛]*)␛\\/g)];
    expect(parts.length).toBeGreaterThan(1);
    expect(parts[0]![1]).toBe('a=T,f=100,q=2,C=1,c=16,r=8,m=1');
    expect(parts.slice(1).map(([, keys]) => keys)).toEqual(
      parts.slice(1).map((_, i) => `m=${i < parts.length - 2 ? 1 : 0}`),
    );
    expect(parts.every(([, , base64]) => base64!.length <= 4096)).toBe(true);
    expect((await decoded(parts.map(([, , base64]) => base64).join(''))).data).toEqual(resize(image, 160, 160).data);
  });
});

test('colours end where they began', () => {
  expect(paint({ colour: true, pictures: 'none' }, 'green', 'x')).toBe(`${ESC}[32mx${ESC}[0m`);
  expect(paint({ colour: false, pictures: 'none' }, 'green', 'x')).toBe('x');
});
