// The processes that are compared: each side has one, so none shares a driver, a heap or a crash with another.
import { type ChildProcess, fork } from 'node:child_process';
import type { SideName } from './engine.ts';
import { driverEnvironment } from './peers/driver.ts';
import type { Request } from './side.ts';

const LIMIT = 180_000; // ms for one answer; then the process is ended

type Waiting = { resolve(value: unknown): void; reject(error: Error): void };

export class Side {
  readonly name: SideName;
  adapter = '';
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #said = '';

  private constructor(name: SideName, file: string, env: Record<string, string>) {
    this.name = name;
    const options = { serialization: 'advanced', stdio: ['ignore', 'pipe', 'pipe', 'ipc'] } as const;
    this.#child = fork(file, { ...options, stdio: [...options.stdio], env: { ...process.env, ...env } });
    const listen = (text: Buffer) => {
      this.#said = (this.#said + text).slice(-2000);
    };
    this.#child.stdout!.on('data', listen);
    this.#child.stderr!.on('data', listen);
    this.#child.on('message', ({ id, value, error }: { id: number; value: unknown; error?: string }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(error));
    });
    this.#child.on('exit', (code, signal) => this.#fail(`its process ended (${signal ?? code})${this.#lastLine()}`));
  }

  /** Starts a side on an adapter. Throws with what went wrong there. */
  static async open(name: SideName, adapter: string, folder: string): Promise<Side> {
    const env = name === 'onnxruntime' ? await driverEnvironment(adapter) : {};
    const side = new Side(name, `${folder}/side.mjs`, env);
    try {
      side.adapter = await side.ask<string>({ ask: 'open', side: name, adapter });
      return side;
    } catch (error) {
      side.close();
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  ask<T>(request: Request): Promise<T> {
    if (!this.isOpen) return Promise.reject(new Error('its process ended'));
    const id = this.#next++;
    const timer = setTimeout(() => {
      this.#fail(`no answer for ${LIMIT / 1000} s`);
      this.close();
    }, LIMIT);
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#child.send({ id, request });
    return answer.finally(() => clearTimeout(timer)) as Promise<T>;
  }

  close(): void {
    this.#child.kill('SIGKILL'); // nothing to save, and destructors of drivers may hang
  }

  #fail(message: string): void {
    for (const { reject } of this.#waiting.values()) reject(new Error(message));
    this.#waiting.clear();
  }

  #lastLine(): string {
    const line = this.#said.trim().split('\n').at(-1);
    return line ? `: ${line.slice(0, 200)}` : '';
  }
}
