// npm run quality -- FOLDER [--adapter NAME] [--dtype q8] [--json]; see quality.ts.
import { load } from '../runtimes/load.js';

const { quality } = await load(new URL('quality.ts', import.meta.url));
process.exitCode = await quality(process.argv.slice(2));
