// The same weights of the same place are on a device once.
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sizeClass } from '../../src/gpu/pool.ts';
import { AdamW, type Device, full, pipeline, setDevice, type Tensor, trim } from '../../src/index.ts';
import type { Progress } from '../../src/io/download.ts';
import { type FromPretrained, pretrained } from '../../src/io/pretrained.ts';
import { saveSafetensors } from '../../src/io/safetensors.ts';
import { type ByteSource, diskFolder, type Folder } from '../../src/io/source.ts';
import { collect } from '../collect.ts';

const SIZE = 256 * 256;
const Named = pretrained('Named', (w) => ({ a: w.get('a', [256, 256]), b: w.get('b', [256, 256]) }));
const Half = pretrained('Half', (w) => ({ a: w.get('a', [256, 256]) }));

let device: Device;
let folder: string;
beforeEach(async () => {
  device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' }); // a new one, which holds nothing
  folder = await mkdtemp(path.join(tmpdir(), 'tessera-test-'));
  await copyFile('tests/goldens/cases/clip/config.json', `${folder}/config.json`);
  await write(0);
});
afterEach(() => rm(folder, { recursive: true }));

const write = (first: number) => {
  const plan = { dtype: 'F32', shape: [256, 256] } as const;
  const values = (name: string) => Float32Array.from({ length: SIZE }, (_, i) => first + i + (name === 'a' ? 0 : 0.5));
  return saveSafetensors(`${folder}/model.safetensors`, new Map([['a', plan] as const, ['b', plan] as const]), values);
};
const load = (options: FromPretrained = {}) => Named.from_pretrained(folder, options);
const held = async () => {
  await trim(device);
  return device.pool.stats.liveBytes;
};
const first = async (t: Tensor) => (await t.data())[0];

test('two models hold one copy, and the last that goes frees it', async () => {
  const one = await load();
  const bytes = await held();
  expect(bytes).toBe(8 * SIZE);
  const reports: number[] = [];
  const two = await load({ progress_callback: (e) => void ('loaded' in e && reports.push(e.loaded)) });
  const part = await Half.from_pretrained(folder);
  expect(await held()).toBe(bytes);
  expect(reports.at(-1)).toBe(8 * SIZE);
  one.dispose();
  one.dispose();
  expect(await first(two.b)).toBe(0.5);
  two.dispose();
  expect(await held()).toBe(4 * SIZE);
  expect(await first(part.a)).toBe(0);
  part.dispose();
  expect(await held()).toBe(0);
});

test('the same bytes in other files, under other names, are one copy; other bytes are not', async () => {
  const Other = pretrained('Other', (w) => ({ x: w.get('tower.a', [256, 256]), y: w.get('tower.b', [256, 256]) }));
  const other = await mkdtemp(path.join(tmpdir(), 'tessera-test-'));
  await copyFile(`${folder}/config.json`, `${other}/config.json`);
  const plan = { dtype: 'F32', shape: [256, 256] } as const;
  const values = (name: string) => Float32Array.from({ length: SIZE }, (_, i) => i + (name === 'tower.a' ? 0 : 0.25));
  const names = new Map([['tower.a', plan] as const, ['tower.b', plan] as const]);
  await saveSafetensors(`${other}/model.safetensors`, names, values);
  const one = await load();
  const two = await Other.from_pretrained(other);
  expect(await held()).toBe(12 * SIZE); // a is shared
  one.dispose();
  expect([await held(), await first(two.x), await first(two.y)]).toEqual([8 * SIZE, 0, 0.25]);
  const again = await load();
  expect(await held()).toBe(12 * SIZE);
  two.dispose();
  expect(await first(again.a)).toBe(0);
  again.dispose();
  expect(await held()).toBe(0);
  await rm(other, { recursive: true });
});

test('the tower of tessera-clip is in tessera-llava, and on the device once', async () => {
  using _ = await pipeline('zero-shot-image-classification');
  const alone = await held();
  using look = await pipeline('image-text-to-text');
  const tower = [...look.model.named_parameters()].filter(([name]) => name.startsWith('vision_tower.'));
  expect(tower.length).toBeGreaterThan(50);
  const own = [...look.model.named_parameters()].filter(
    ([name, { size }]) => !name.startsWith('vision_tower.') || 2 * size < 4096, // vectors, in f16: not worth a hash
  );
  expect((await held()) - alone).toBe(own.reduce((n, [, { nbytes }]) => n + sizeClass(nbytes), 0));
});

test('models that are loaded at the same time hold one copy', async () => {
  const reports: number[] = [];
  const options = { progress_callback: (e: Progress) => void ('loaded' in e && reports.push(e.loaded)) };
  const [one, two, part] = await Promise.all([load(), load(options), Half.from_pretrained(folder)]);
  expect(await held()).toBe(8 * SIZE);
  expect(reports.at(-1)).toBe(8 * SIZE);
  one.dispose();
  expect([await first(two.b), await first(part.a)]).toEqual([0.5, 0]);
  for (const model of [two, part]) model.dispose();
  expect(await held()).toBe(0);
});

test('a load that is stopped harms none that waits for it, nor one that waits and is stopped', async () => {
  const gate = new AbortController();
  const isOpen = new Promise((resolve) => gate.signal.addEventListener('abort', resolve));
  const disk = diskFolder(folder);
  /** The same files, whose weights come when the gate opens. */
  const slow: Folder = {
    ...disk,
    async open(file) {
      const source = await disk.open(file);
      const read: ByteSource['read'] = async (at, length) => {
        if (length >= 4 * SIZE) await isOpen;
        return source!.read(at, length);
      };
      return source && { ...source, read };
    },
  };
  const start = async (from: string | Folder) => {
    const stop = new AbortController();
    let model!: ReturnType<typeof load>;
    await new Promise((begun) => {
      const progress_callback = ({ status }: Progress) => status === 'initiate' && begun(status);
      model = Named.from_pretrained(from, { signal: stop.signal, progress_callback });
    });
    model.catch(() => {}); // told below
    return { model, stop: () => stop.abort(new Error('enough')) };
  };
  const loader = await start(slow);
  const [waiting, stopped] = [await start(folder), await start(folder)];
  stopped.stop();
  await expect(stopped.model).rejects.toThrow('enough');
  loader.stop();
  gate.abort();
  await expect(loader.model).rejects.toThrow('enough');
  const model = await waiting.model;
  expect(await model.b.data()).toEqual(Float32Array.from({ length: SIZE }, (_, i) => i + 0.5));
  model.dispose();
  expect(await held()).toBe(0);
});

test('other forms and other bytes are other copies', async () => {
  using one = await load();
  using half = await load({ dtype: 'f16' });
  expect(await held()).toBe(12 * SIZE);
  await write(7);
  using changed = await load();
  expect(await first(changed.a)).toBe(7);
  expect(await first(one.a)).toBe(0);
  expect(await first(half.a)).toBe(0);
});

test('what is trained is no longer shared', async () => {
  using one = await load();
  using two = await load();
  using optimizer = new AdamW([one.a], { lr: 1 });
  await optimizer.step(one.a.sum());
  expect(await first(one.a)).not.toBe(0);
  expect(await first(two.a)).toBe(0);
  using three = await load();
  expect(await first(three.a)).toBe(0);
});

test('all come back after a lost device, and share again', async () => {
  using one = await load();
  using two = await load();
  device.gpu.destroy();
  await device.gpu.lost;
  expect([await first(one.a), await first(two.b)]).toEqual([0, 0.5]);
  expect(one.device).toBe(two.device);
  device = one.device;
  expect(await held()).toBe(8 * SIZE);
});

test('what was trained does not come back as it was in the file', async () => {
  using one = await load();
  using optimizer = new AdamW([one.a], { lr: 1 });
  await optimizer.step(one.a.sum());
  device.gpu.destroy();
  await device.gpu.lost;
  expect(await first(one.b)).toBe(0.5);
  await expect(one.a.data()).rejects.toThrow('was on a device that is lost, and nowhere else');
  expect(one.device.isLost).toBe(false);
});

test('a model disposed while it comes back leaves nothing', async () => {
  const one = await load();
  device.gpu.destroy();
  await device.gpu.lost;
  const reading = one.b.add(1).data();
  while (one.device.isLost) await new Promise((resolve) => setTimeout(resolve, 1));
  one.dispose();
  await reading.catch(() => {});
  device = one.device;
  expect(await held()).toBe(0);
});

test('shared weights are not written in place; own ones are no longer shared', async () => {
  const one = await load();
  using two = await load();
  const value = full([1, 256], 9);
  await expect(one.a.overwrite(value, 0, 0).data()).rejects.toThrow('holds weights that are shared');
  expect(await first(one.a)).toBe(0);
  two.dispose();
  using written = await one.a.overwrite(value, 0, 0).realize();
  expect(await first(written)).toBe(9);
  using three = await load();
  expect(await first(three.a)).toBe(0);
  one.dispose();
});

test('a model that nobody can reach is collected', async () => {
  await (async () => {
    await load();
  })();
  for (let i = 0; i < 20 && (await held()) > 0; i++) await collect();
  expect(await held()).toBe(0);
});
