// What the tests of the hub share: a hub on this machine, an empty cache for each test, and how it is asked.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, vi } from 'vitest';
import type { HubOptions } from '../../src/io/hub-folder.ts';
import { writeSafetensors } from '../../src/io/safetensors.ts';
import { digest, type FakeHub, type Fault, type Files, fakeHub, noise, type Seen } from './fake-hub.ts';
import { fetchAll } from './hub-client.ts';
import { valueOrMessage } from './support.ts';

export const REPO = 'owner/model';
export const BIG = noise(300_000);
export const FILES: Files = {
  'config.json': '{"model_type": "clip"}',
  'model.safetensors': BIG,
  'unet/config.json': '{}',
};
export const SUMS = Object.fromEntries(Object.entries(FILES).map(([name, content]) => [name, digest(content)]));
export const patience = { answer: 2000, stall: 300, wait: 5 };

export const message = async (work: Promise<unknown>) => (await valueOrMessage(() => work)).message;

/** A safetensors file with one tensor: `size` numbers 0, 1, 2, ... */
export const weights = (name: string, size = 100_000) =>
  writeSafetensors([[name, { dtype: 'F32', shape: [size], data: Float32Array.from({ length: size }, (_, i) => i) }]]);

/** A fault for answers with bytes of large files. */
export const onBlob =
  (fault: (seen: Seen) => Fault | undefined): FakeHub['fault'] =>
  (seen) =>
    seen.host === 'cdn' ? fault(seen) : undefined;

/** Begins a hub and, before each test, a cache. What it gives is filled in by then. */
export function useHub() {
  const self = {
    hub: undefined as unknown as FakeHub,
    cache_dir: '',
    /** Of REPO with FILES. */
    commit: '',
    /** A path in the cache, below REPO. */
    at: (...parts: string[]) => path.join(self.cache_dir, 'models--owner--model', ...parts),
    fetch: (options: HubOptions = {}, files = Object.keys(FILES), repo = REPO) =>
      fetchAll(repo, files, { endpoint: self.hub.endpoint, cache_dir: self.cache_dir, patience, ...options }),
    /** The ranges of large files that were asked for. */
    ranges: () => self.hub.seen.filter(({ host }) => host === 'cdn').map(({ range }) => range),
  };
  beforeAll(async () => {
    self.hub = await fakeHub();
    self.commit = self.hub.commit(REPO, FILES);
  });
  afterAll(() => self.hub.close());
  beforeEach(() => {
    self.cache_dir = mkdtempSync(path.join(tmpdir(), 'tessera-hub-'));
    self.hub.seen.length = 0;
    self.hub.fault = undefined;
    vi.stubEnv('HF_TOKEN', undefined);
    vi.stubEnv('HF_TOKEN_PATH', `${self.cache_dir}/token`);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(self.cache_dir, { recursive: true, force: true });
  });
  return self;
}
