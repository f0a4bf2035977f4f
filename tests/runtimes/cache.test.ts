// SwiftShader's cache: unpacked once, whole again after any damage, shared by processes, never in somebody else's hands.
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { keep, locate, unpack } from '../../src/gpu/software.ts';
import { type Bundles, bundle, ROOT } from './bundle.ts';
import { type Launch, runIn } from './launch.ts';
import type { Smoke } from './smoke.ts';

let bundles: Bundles;
let folder: string;
beforeAll(async () => {
  bundles = await bundle(new URL('smoke.ts', import.meta.url));
});
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tessera-test-'));
});
afterEach(() => rm(folder, { recursive: true }));

const BACKENDS = { node: 'dawn', bun: 'dawn', deno: 'wgpu', 'deno-dawn': 'dawn' } as const;

/** Fails unless the runtime reaches SwiftShader, and by its own way. */
async function reaches(
  runtime: keyof typeof BACKENDS,
  options: { cacheDir?: string },
  launch: Launch = {},
): Promise<void> {
  const { info } = (await runIn(runtime, bundles, options, { adapter: 'swiftshader', ...launch })) as unknown as Smoke;
  expect(info).toMatchObject({ name: 'swiftshader', backend: BACKENDS[runtime] });
}

test('keep makes files once, and again when one is damaged', async () => {
  let made = 0;
  const make = async () => {
    made++;
    return new Map([
      ['a.so', new Uint8Array([1, 2, 3])],
      ['b.so', new Uint8Array(5)],
    ]);
  };
  const read = async () => [...(await readFile(`${folder}/x/a.so`))];
  await keep(`${folder}/x`, make);
  await keep(`${folder}/x`, make);
  expect([made, await read()]).toEqual([1, [1, 2, 3]]);
  expect((await stat(`${folder}/x/a.so`)).mode & 0o100).toBe(0o100);

  const damages = [
    () => truncate(`${folder}/x/a.so`, 2),
    () => rm(`${folder}/x/b.so`),
    () => rm(`${folder}/x/files.json`),
    () => truncate(`${folder}/x/files.json`, 4),
    () => writeFile(`${folder}/x/files.json`, '{}'),
  ];
  for (const [i, damage] of damages.entries()) {
    await damage();
    await keep(`${folder}/x`, make);
    expect([made, await read()]).toEqual([i + 2, [1, 2, 3]]);
  }
  expect((await readdir(`${folder}/x`)).sort()).toEqual(['a.so', 'b.so', 'files.json']); // no drafts
});

test('keep ends where no folder can be made', async () => {
  for (const folder of ['/proc/none/x', '/dev/null/none/x'])
    await expect(keep(folder, async () => new Map())).rejects.toThrow(/ENOENT|ENOTDIR|EPERM|No such|Not a dir/);
});

test('the archive holds what Vulkan needs', async () => {
  const files = await unpack((await locate()).archive('swiftshader.tar.br'));
  expect(Object.keys(JSON.parse(Buffer.from(files.get('vk_swiftshader_icd.json')!).toString()))).toContain('ICD');
  for (const name of ['libvk_swiftshader.so', 'libvulkan.so.1']) {
    expect([...files.get(name)!.subarray(0, 4)]).toEqual([0x7f, 0x45, 0x4c, 0x46]); // ELF
  }
});

test('processes that start at once share an empty cache', async () => {
  const runtimes = ['node', 'node', 'bun', 'deno', 'deno-dawn'] as const;
  await Promise.all(runtimes.map((runtime) => reaches(runtime, { cacheDir: folder })));
  const left = await Promise.all((await readdir(folder)).map((name) => readdir(path.join(folder, name))));
  expect(left.flat().filter((name) => /-....-/.test(name))).toEqual([]); // drafts
});

test.each(['node', 'bun', 'deno', 'deno-dawn'] as const)('%s repairs files of the right size', async (runtime) => {
  await reaches(runtime, { cacheDir: folder });
  const [name] = await readdir(folder);
  const files = runtime === 'deno' ? ['libvulkan.so.1', 'libvk_swiftshader.so'] : ['libvulkan.so.1', 'dawn.node'];
  for (const file of files) {
    const { size } = await stat(path.join(folder, name!, file));
    await writeFile(path.join(folder, name!, file), new Uint8Array(size));
    await reaches(runtime, { cacheDir: folder });
  }
});

test.each([
  ['node', { HOME: '/dev/null/none', XDG_CACHE_HOME: undefined }],
  ['deno', { XDG_CACHE_HOME: '/dev/null/none' }],
] as const)('%s without a home uses the folder for temporary files', async (runtime, home) => {
  const env = { ...home, TMPDIR: folder };
  await reaches(runtime, {}, { env });
  const [own, ...rest] = await readdir(folder);
  expect(rest).toEqual([]);
  expect((await stat(path.join(folder, own!))).mode & 0o077).toBe(0);

  // code is loaded from there, so it must not be one that others can write to
  await chmod(path.join(folder, own!), 0o777);
  await expect(reaches(runtime, {}, { env })).rejects.toThrow(/none.*; .*belongs to somebody else/);
});

test('without the optional package the error says how to get it', async () => {
  await mkdir(`${folder}/node_modules`);
  await symlink(path.join(ROOT, 'node_modules/webgpu'), `${folder}/node_modules/webgpu`);
  await writeFile(`${folder}/smoke.mjs`, await readFile(bundles.node));
  const run = runIn('node', `${folder}/smoke.mjs`, {}, { adapter: 'swiftshader' });
  await expect(run).rejects.toThrow(/@sparticuz\/chromium is not installed; run: npm i --include=optional/);
});
