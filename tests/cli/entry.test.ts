// What is typed into a terminal, without one.
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { entry } from '../../src/cli/entry.ts';

function open({ isTTY = true } = {}) {
  const stdin = new PassThrough();
  const stdout = Object.assign(new PassThrough(), { isTTY, columns: 20 });
  const told: (boolean | 'end')[] = [];
  const onInterrupt = (isSecond: boolean) => {
    told.push(isSecond);
    if (isSecond) typed.close();
  };
  const typed = entry('> ', { onInterrupt, onEnd: () => told.push('end') }, { stdin, stdout });
  const messages = typed.messages[Symbol.asyncIterator]();
  const type = async (text: string) => {
    stdin.write(text);
    await new Promise((done) => setTimeout(done, 5));
  };
  const screen = () => String(stdout.read() ?? '');
  typed.open();
  return { typed, type, screen, told, stdout, next: async () => (await messages.next()).value };
}

test('lines are messages, of any length and script', async () => {
  const { type, next } = open();
  for (const text of ['hello', 'x'.repeat(5000), '\u732b\u304c\u597d\u304d \ud83d\udc69\u200d\ud83d\udcbb', '']) {
    await type(`${text}\r`);
    expect(await next()).toEqual({ text, isShown: true });
  }
});

test('what is pasted is one message, with what is typed around it', async () => {
  const { type, next, screen } = open();
  expect(screen()).toContain('\x1b[?2004h');
  await type('see: \x1b[200~one\rtwo\r\rthr');
  await type('ee\x1b[201~');
  await type(' and four\r');
  expect(await next()).toEqual({ text: 'see: one\ntwo\n\nthree and four', isShown: true });
  await type('next\r');
  expect(await next()).toEqual({ text: 'next', isShown: true });
});

test('what is typed while an answer comes is kept out of it, also when the window changes', async () => {
  const { typed, type, next, screen, stdout } = open();
  typed.hide();
  screen();
  await type('ahead\rhalf');
  stdout.columns = 10;
  stdout.emit('resize');
  expect(screen()).toBe('');
  expect(await next()).toEqual({ text: 'ahead', isShown: false });
  typed.open();
  expect(screen()).toContain('> half');
  await type(' a line\r');
  expect(await next()).toEqual({ text: 'half a line', isShown: true });
});

test('Ctrl-C drops the line; twice, or Ctrl-D, is the end', async () => {
  const one = open();
  await one.type('half\x03');
  await one.type('whole\r');
  expect(await one.next()).toEqual({ text: 'whole', isShown: true });
  await one.type('\x03');
  await one.type('\x03');
  expect(one.told).toEqual([false, false, true, 'end']);
  expect(await one.next()).toBeUndefined();
  expect(one.screen().endsWith('\x1b[?2004l')).toBe(true);
  const stopped = open();
  stopped.typed.hide();
  await stopped.type('\x03'); // it stops an answer, and is not the first of two that end the conversation
  stopped.typed.open();
  await stopped.type('\x03');
  expect(stopped.told).toEqual([false, false]);
  const other = open();
  await other.type('\x04');
  expect([other.told, await other.next()]).toEqual([['end'], undefined]);
});

test('a terminal that cannot be drawn on: its Ctrl-C is a signal, and does the same', async () => {
  const listeners = process.listenerCount('SIGINT');
  const { type, told, next, typed } = open({ isTTY: false });
  await type('one\n');
  expect(await next()).toEqual({ text: 'one', isShown: true });
  typed.hide();
  process.emit('SIGINT');
  typed.open();
  process.emit('SIGINT');
  process.emit('SIGINT');
  await new Promise((done) => setTimeout(done, 5));
  expect(told).toEqual([false, false, true, 'end']);
  expect(await next()).toBeUndefined();
  expect(process.listenerCount('SIGINT')).toBe(listeners);
});
