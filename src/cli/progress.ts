// A bar on stderr while a model comes and loads; nothing when stderr is not a terminal.
import process from 'node:process';
import type { Progress } from '../io/load.ts';

export type LoadingBar = { progress_callback: ((event: Progress) => void) | undefined; stop(): void };

export async function loadingBar(): Promise<LoadingBar> {
  if (!process.stderr.isTTY) return { progress_callback: undefined, stop: () => {} };
  const { default: progress } = await import('cli-progress');
  const format = '{what} {name} {bar} {percentage} %';
  const settings = { format, clearOnComplete: true, barsize: 30, linewrap: true, gracefulExit: false }; // changes no terminal settings
  const bar = new progress.SingleBar(settings, progress.Presets.shades_classic);
  let isOn = false;
  const start = (what: string, name: string) => {
    bar.start(1, 0, { what, name });
    isOn = true;
  };
  const stop = () => {
    if (isOn) bar.stop();
    isOn = false;
  };
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
