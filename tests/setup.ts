// Tests run on SwiftShader unless TESSERA_ADAPTER names another adapter.
import { beforeAll } from 'vitest';
import { setDevice } from '../src/index.ts';

beforeAll(async () => {
  await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
});
