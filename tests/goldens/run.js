// npm run goldens -- FOLDER [--only 'clip*'] [--runtime NAME] [--adapter NAME] [--json]; see cli.ts.
import { load } from '../runtimes/load.js';

const { goldens } = await load(new URL('cli.ts', import.meta.url));
process.exitCode = await goldens(process.argv.slice(2));
