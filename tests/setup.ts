// Tests run on SwiftShader unless TESSERA_ADAPTER names another adapter.
import fc from 'fast-check';
import { beforeAll } from 'vitest';
import { setDevice } from '../src/index.ts';

// The same cases in every run: a run that fails can be repeated. FUZZ_SEED looks at others.
fc.configureGlobal({ seed: Number(process.env.FUZZ_SEED ?? 1) });

beforeAll(async () => {
  await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
});
