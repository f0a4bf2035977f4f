/** A mistake in what was given (a file, an option, a text), not in this program. The command line prints it in one line and exits with 2. */
export class UserError extends Error {
  override name = 'UserError';
}

/**
 * What an error says; of fetch's what is behind it, for the first address where a host has several; of Node's without the
 * path, which is told already or is that of a draft.
 */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, cause, syscall } = error as NodeJS.ErrnoException;
  const behind: unknown = cause instanceof AggregateError ? cause.errors[0] : cause;
  return (behind instanceof Error && behind.message) || message.split(`, ${syscall} '`)[0]!;
}

/** `error` as a UserError that starts with `[where] what`; one that is a UserError already stays as it is. */
export function asUserError(error: unknown, where: string, what: string): UserError {
  if (error instanceof UserError) return error;
  return new UserError(`[${where}] ${what}: ${reasonOf(error)}`, { cause: error });
}

/** Runs `work`; whatever it throws (a library's own error) becomes a UserError. */
export async function explain<T>(where: string, what: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asUserError(error, where, what);
  }
}
