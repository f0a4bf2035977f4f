// Who may compute: some at once, some in a line behind them, and no more.
import { Refusal } from './refusal.ts';

export class Turns {
  readonly #atOnce: number;
  readonly #longest: number;
  #taken = 0;
  readonly #line: (() => void)[] = [];

  constructor(atOnce: number, longest: number) {
    this.#atOnce = atOnce;
    this.#longest = longest;
  }

  /** Waits for a turn, which ends when it is disposed of. Throws a Refusal where the line is full, and the signal's reason. */
  async take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#taken < this.#atOnce) this.#taken++;
    else await this.#wait(signal);
    return { [Symbol.dispose]: () => this.#pass() };
  }

  /** At the end of the line, until the turn of another is passed on. */
  #wait(signal: AbortSignal): Promise<void> {
    if (this.#line.length >= this.#longest) {
      const message = `${this.#taken} requests are computed and ${this.#line.length} wait: try again later`;
      throw new Refusal(429, message, { code: 'rate_limit_exceeded', headers: { 'retry-after': '1' } });
    }
    return new Promise((resolve, reject) => {
      const next = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#line.splice(this.#line.indexOf(next), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#line.push(next);
    });
  }

  #pass(): void {
    const next = this.#line.shift();
    if (next) next();
    else this.#taken--;
  }
}
