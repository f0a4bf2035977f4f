/** A mistake in what was given (a file, an option, a text), not in this program. The command line prints it in one line and exits with 2. */
export class UserError extends Error {
  override name = 'UserError';
}

/** Runs `work`; an error that is not a UserError already (a library's own) becomes one that starts with `[where] what`. */
export async function explain<T>(where: string, what: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`[${where}] ${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
