// npm run test:adapters -- [--full]; see adapters.ts.
import { load } from '../runtimes/load.js';

const { main } = await load(new URL('adapters.ts', import.meta.url));
process.exitCode = await main(process.argv.slice(2));
