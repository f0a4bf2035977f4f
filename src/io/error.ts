/** A mistake in what was given (a file, an option, a text), not in this program. The command line prints it in one line and exits with 2. */
export class UserError extends Error {
  override name = 'UserError';
}

/** `error` as a UserError that starts with `[where] what`; one that is a UserError already stays as it is. */
export function asUserError(error: unknown, where: string, what: string): UserError {
  if (error instanceof UserError) return error;
  return new UserError(`[${where}] ${what}: ${error instanceof Error ? error.message : String(error)}`, {
    cause: error,
  });
}

/** Runs `work`; whatever it throws (a library's own error) becomes a UserError. */
export async function explain<T>(where: string, what: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asUserError(error, where, what);
  }
}
