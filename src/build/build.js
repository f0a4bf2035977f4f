// Builds dist/: index.js for Node, Bun and Deno, browser.js and worker.js for pages, cli.js for the command line, types/ with
// --types. Prints what engine + CLIP weigh and fails above the limit. --quiet: nothing but errors. --if-older: nothing is done
// where dist/ is newer than what it is made of, as in a checkout that nobody may write to.
import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { wgslPlugin } from './wgsl.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What dist/ holds. */
const FILES = ['index.js', 'browser.js', 'worker.js', 'cli.js'];

/** Largest that engine + CLIP may be, minified and gzipped. */
const MAX_KB = 100;
/** What a page downloads to run CLIP: loading, the engine, one model. */
const ENGINE = `
  export { CLIPModel } from './src/models/clip.ts';
  export { run, setDevice } from './src/exec/run.ts';
  export { tensor } from './src/ops/index.ts';
`;

// `using` needs these symbols; older browsers and Node 20.3 lack them
const SYMBOLS =
  "Symbol.dispose??=Symbol.for('Symbol.dispose');Symbol.asyncDispose??=Symbol.for('Symbol.asyncDispose');";

const shared = {
  absWorkingDir: ROOT,
  bundle: true,
  write: false,
  format: 'esm',
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  banner: { js: SYMBOLS },
  plugins: [wgslPlugin],
  logLevel: 'silent', // a failure throws with the same text
};

/** Packages stay imports: they are dependencies, and some are native. Errors in it can be read. */
const NODE = {
  ...shared,
  minify: false,
  platform: 'node',
  packages: 'external',
  plugins: [wgslPlugin, without(/\/(?:hash-page|remote)\.ts$/, '[tessera] for pages only')],
};

/** A page has no files, no npm webgpu and no wasm decoders: what asks for them says so. */
const PAGE = {
  ...shared,
  platform: 'browser',
  plugins: [
    wgslPlugin,
    without(/\/software\.ts$/),
    without(
      /^node:|^webgpu$|\/(?:image-wasm|cache-disk)\.ts$/,
      '[browser] paths and npm packages need Node, Bun or Deno; give files, addresses or a GPUDevice',
    ),
  ],
};

/** A worker starts no other; bundlers would look for it without end. */
const WORKER = {
  ...PAGE,
  entryPoints: ['src/worker.ts'],
  plugins: [...PAGE.plugins, without(/\/remote\.ts$/, '[worker] a worker starts no other')],
};

/** Leaves modules out: in their place is an error, or nothing. */
function without(filter, message) {
  const contents = message ? `throw new Error(${JSON.stringify(message)})` : 'module.exports = {}';
  return {
    name: 'without',
    setup({ onResolve, onLoad }) {
      const namespace = `without ${filter}`;
      onResolve({ filter }, () => ({ path: 'missing', namespace }));
      onLoad({ filter: /.*/, namespace }, () => ({ contents }));
    },
  };
}

/** Builds everything; gives the sizes in bytes. */
export async function buildAll({ types = false, folder = path.join(ROOT, 'dist') } = {}) {
  const file = async (options) => (await build(options)).outputFiles[0].contents;
  const { version } = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8'));
  const define = { TESSERA_VERSION: JSON.stringify(version) };
  const stdin = { contents: ENGINE, resolveDir: ROOT, loader: 'ts' };
  const [index, browser, worker, cli, engine] = await Promise.all([
    file({ ...NODE, entryPoints: ['src/index.ts'] }),
    file({ ...PAGE, entryPoints: ['src/index.ts'] }),
    file(WORKER),
    file({ ...NODE, entryPoints: ['src/cli/main.ts'], define, banner: { js: `#!/usr/bin/env node\n${SYMBOLS}` } }),
    file({ ...PAGE, stdin }),
  ]);
  await mkdir(folder, { recursive: true });
  for (const [i, bytes] of [index, browser, worker, cli].entries()) {
    const name = FILES[i];
    const draft = path.join(folder, `${name}.${process.pid}`); // whole or not at all: tests build in parallel
    await writeFile(draft, bytes);
    if (name === 'cli.js') await chmod(draft, 0o755);
    await rename(draft, path.join(folder, name));
  }
  if (types) await buildTypes(path.join(folder, 'types'));
  const sizes = Object.entries({ engine, index, browser, worker, cli });
  return Object.fromEntries(sizes.map(([name, bytes]) => [name, gzipSync(bytes, { level: 9 }).length]));
}

/** Declarations of what src/index.ts reaches, with tsconfig.json's settings. */
async function buildTypes(outDir) {
  const { default: ts } = await import('typescript');
  const file = path.join(ROOT, 'tsconfig.json');
  const { options, errors } = ts.parseJsonConfigFileContent(JSON.parse(await readFile(file, 'utf8')), ts.sys, ROOT);
  await rm(outDir, { recursive: true, force: true });
  const files = [path.join(ROOT, 'src/index.ts'), path.join(ROOT, 'src/gpu/wgsl.d.ts')];
  const program = ts.createProgram(files, {
    ...options,
    rootDir: path.join(ROOT, 'src'),
    outDir,
    declaration: true,
    emitDeclarationOnly: true,
    noEmit: false,
  });
  const found = [...errors, ...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
  if (found.length > 0) {
    const host = { getCanonicalFileName: String, getCurrentDirectory: () => ROOT, getNewLine: () => '\n' };
    throw new Error(ts.formatDiagnostics(found, host));
  }
}

/** Whether what is built lies in `folder` and is newer than each of `sources`, files and folders with all that is in them. */
export async function isNewer(folder, sources) {
  const timeOf = async (file) => (await stat(file)).mtimeMs;
  const inside = async (place) => {
    if (!(await stat(place)).isDirectory()) return [place];
    const entries = await readdir(place, { recursive: true });
    return [place, ...entries.map((name) => path.join(place, name))];
  };
  const built = await Promise.all(FILES.map((name) => timeOf(path.join(folder, name)))).catch(() => []);
  const files = (await Promise.all(sources.map(inside))).flat();
  return built.length > 0 && Math.min(...built) > Math.max(...(await Promise.all(files.map(timeOf))));
}

async function main(argv) {
  const sources = ['src', 'shaders', 'package.json'].map((name) => path.join(ROOT, name));
  if (argv.includes('--if-older') && (await isNewer(path.join(ROOT, 'dist'), sources))) return;
  const quiet = argv.includes('--quiet');
  const start = performance.now();
  const sizes = await buildAll({ types: argv.includes('--types') });
  const kb = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
  if (!quiet) {
    console.log(`engine + CLIP ${kb(sizes.engine)} (at most ${MAX_KB} kB), minified and gzipped`);
    const files = ['index', 'browser', 'worker', 'cli'].map((name) => `${name}.js ${kb(sizes[name])}`);
    console.log(`dist/${files.join(', ')}`);
    console.log(`built in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
  if (sizes.engine > MAX_KB * 1000) {
    throw new Error(`[build] engine + CLIP: got ${kb(sizes.engine)}, want at most ${MAX_KB} kB`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main(process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
