// What nothing refers to any more goes now, in any test: the collector on demand.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Collects, and lets finalisers run. */
export async function collect(): Promise<void> {
  gc();
  await new Promise((done) => setTimeout(done, 10));
}
