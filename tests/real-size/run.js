// npm run real-size -- FOLDER [--side 256]... [--adapter NAME] [--only unet] [--json]; see real-size.ts.
import { load } from '../runtimes/load.js';

const { realSize } = await load(new URL('real-size.ts', import.meta.url));
process.exitCode = await realSize(process.argv.slice(2));
