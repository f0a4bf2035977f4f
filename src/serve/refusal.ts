// Errors in the shape of OpenAI's API: https://platform.openai.com/docs/guides/error-codes
import { OutOfMemory } from '../gpu/pool.ts';
import { UserError } from '../io/error.ts';

type Details = { code?: string | null; param?: string | null; headers?: Record<string, string> };

/** A request that is answered by an error: its HTTP status, and what a client's program looks at. */
export class Refusal extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly #details: Details;

  constructor(status: number, message: string, { headers = {}, ...details }: Details = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
    this.#details = details;
  }

  get body() {
    const { code = null, param = null } = this.#details;
    const type =
      this.status >= 500 ? 'server_error' : this.status === 429 ? 'rate_limit_error' : 'invalid_request_error';
    return { error: { message: this.message, type, param, code } };
  }
}

/** Any error as one that a client gets: what it gave was wrong (400), there is no room now (503), or something failed here (500). */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof UserError) return new Refusal(400, message);
  if (error instanceof OutOfMemory) return new Refusal(503, message, { code: 'out_of_memory' });
  return new Refusal(500, message);
}
