// The command line with ids of the hub: a model that is fetched, kept, found again offline, and what is said when it is not there.
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FakeHub, type Files, fakeHub } from '../io/fake-hub.ts';
import { pictures, tinyFolder } from '../tasks/support.ts';
import { build, ROOT, tessera } from './run.ts';

const PATIENCE = 180_000; // a software adapter compiles each kernel first
const picture = path.relative(ROOT, pictures[0]!);

let hub: FakeHub;
let folder: string;
let env: Record<string, string>;
beforeAll(async () => {
  hub = await fakeHub();
  folder = await mkdtemp(path.join(tmpdir(), 'tessera-hub-'));
  env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: folder };
  const files: Files = { 'pytorch_model.bin': 'a pickle' };
  const tiny = tinyFolder('clip');
  for (const name of await tiny.list()) {
    const source = (await tiny.open(name))!;
    files[name] = await source.read(0, source.size);
  }
  hub.commit('tiny/clip', files, { revision: 'v1' });
  hub.commit('tiny/gated', files, { gated: true, token: 'secret' });
  await build();
}, PATIENCE);
afterAll(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
});

test(
  'classify --model ID --revision: fetched once, then found offline',
  async () => {
    const args = ['classify', picture, '--labels', 'a cat,dog', '--model', 'tiny/clip', '--revision', 'v1', '--json'];
    const first = await tessera(args, { env });
    expect({ code: first.code, err: first.err }).toEqual({ code: 0, err: '' });
    const { model, results } = JSON.parse(first.out);
    expect(model).toEqual({ path: 'tiny/clip', model_type: 'clip', unused: [] });
    const [commit] = readdirSync(path.join(folder, 'models--tiny--clip/snapshots'));
    expect(readdirSync(path.join(folder, 'models--tiny--clip/snapshots', commit!)).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'preprocessor_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const asked = hub.seen.length;
    const again = await tessera(args, { env: { ...env, HF_HUB_OFFLINE: '1' } });
    expect([again.code, JSON.parse(again.out).results, hub.seen.length]).toEqual([0, results, asked]);
  },
  PATIENCE,
);

test('inspect ID', async () => {
  const { code, out } = await tessera(['inspect', 'tiny/clip', '--revision', 'v1', '--json'], { env });
  const { name, model_type, totals } = JSON.parse(out);
  expect([code, name, model_type, totals.tensors > 10]).toEqual([0, 'tiny/clip', 'clip', true]);
});

test('mistakes end with code 2 and one line', async () => {
  const complaint = async (...args: string[]) => {
    const { code, out, err } = await tessera(['inspect', ...args], { env });
    expect({ code, out }).toEqual({ code: 2, out: '' });
    return err.replaceAll(hub.endpoint, 'HUB').replaceAll(new URL(hub.endpoint).host, 'host');
  };
  expect(await complaint('tiny/none')).toBe(
    'error: [hub] tiny/none: got no such model on host, want an id that is there; if it is private, a token in HF_TOKEN\n',
  );
  expect(await complaint('tiny/clip', '--revision', 'v2')).toBe(
    'error: [hub] tiny/clip: got no revision "v2", want a branch, tag or commit of HUB/tiny/clip\n',
  );
  expect(await complaint('tiny/gated')).toBe(
    'error: [hub] tiny/gated: got a gated model, want its licence accepted at HUB/tiny/gated, and a token in HF_TOKEN\n',
  );
});
