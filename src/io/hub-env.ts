// Settings of the hub from the environment, under the names and with the defaults of huggingface_hub's constants.py. A page
// has none of them.

/** The first of these variables that is set. */
function env(...names: string[]): string | undefined {
  const all: Record<string, string | undefined> = globalThis.process?.env ?? {};
  return names.map((name) => all[name]).find(Boolean);
}

const isOn = (...names: string[]): boolean => /^(?:1|on|yes|true)$/i.test(env(...names) ?? '');

export const isOffline = (): boolean => isOn('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE');
export const hasLinks = (): boolean => !isOn('HF_HUB_DISABLE_SYMLINKS');
export const endpointOf = (given?: string): string => given ?? env('HF_ENDPOINT') ?? 'https://huggingface.co';

/** The folder of the cache (Node, Deno, Bun). */
export async function cacheFolder(): Promise<string> {
  return expand(env('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE') ?? `${await hfHome()}/hub`);
}

/** What was given, HF_TOKEN, or the file that `hf auth login` writes; false: none. */
export async function tokenOf(given?: string | false): Promise<string | undefined> {
  if (given !== undefined) return given || undefined;
  if (isOn('HF_HUB_DISABLE_IMPLICIT_TOKEN')) return undefined;
  const token = env('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN') ?? (await readToken());
  return token?.trim() || undefined;
}

async function readToken(): Promise<string | undefined> {
  if (!globalThis.process?.versions?.node) return undefined;
  const { readFile } = await import('node:fs/promises');
  const file = await expand(env('HF_TOKEN_PATH') ?? `${await hfHome()}/token`);
  return readFile(file, 'utf8').catch(() => undefined);
}

async function hfHome(): Promise<string> {
  return expand(env('HF_HOME') ?? `${env('XDG_CACHE_HOME') ?? '~/.cache'}/huggingface`);
}

/** A path with ~ and $NAME filled in. */
async function expand(path: string): Promise<string> {
  const { homedir } = await import('node:os');
  const named = path.replace(/^~(?=[/\\]|$)/, () => homedir());
  return named.replace(/\$(?:(\w+)|\{(\w+)\})/g, (text, a, b) => env(a ?? b) ?? text);
}
