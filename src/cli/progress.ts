// A bar on stderr while a model comes and loads, or many inputs are worked on; nothing when stderr is not a terminal.
import process from 'node:process';
import type { Progress } from '../io/download.ts';

export type LoadingBar = { progress_callback: ((event: Progress) => void) | undefined; stop(): void };

/** A bar that can be taken away and come back. */
async function restartable() {
  const { default: progress } = await import('cli-progress');
  const format = '{what} {name} {bar} {percentage} %';
  const settings = { format, clearOnComplete: true, barsize: 30, linewrap: true, gracefulExit: false }; // changes no terminal settings
  const bar = new progress.SingleBar(settings, progress.Presets.shades_classic);
  let isOn = false;
  const start = (what: string, name: string, total = 1) => {
    bar.start(total, 0, { what, name });
    isOn = true;
  };
  const stop = () => {
    if (isOn) bar.stop();
    isOn = false;
  };
  return { bar, start, stop, isOn: () => isOn };
}

/** Counts inputs. What is printed in between calls `stop` before. */
export async function countingBar(what: string): Promise<{ at(done: number, total: number): void; stop(): void }> {
  if (!process.stderr.isTTY) return { at: () => {}, stop: () => {} };
  const { bar, start, stop, isOn } = await restartable();
  const at = (done: number, total: number) => {
    if (done >= total) return stop();
    if (!isOn()) start(what, `of ${total}`, total);
    bar.update(done);
  };
  return { at, stop };
}

export async function loadingBar(): Promise<LoadingBar> {
  if (!process.stderr.isTTY) return { progress_callback: undefined, stop: () => {} };
  const { bar, start, stop } = await restartable();
  const progress_callback = (event: Progress) => {
    if (event.status === 'download') start('fetching', event.file);
    if (event.status === 'initiate') start('loading', event.name);
    if (event.status === 'progress') {
      bar.setTotal(event.total);
      bar.update(event.loaded);
    }
    if (event.status === 'done' || event.status === 'ready') stop();
  };
  return { progress_callback, stop };
}
