import { defineConfig } from 'vitest/config';
import { wgslVite } from '../src/build/wgsl.js';

export default defineConfig({
  plugins: [wgslVite],
  test: {
    include: ['tests/**/*.test.ts'],
    setupFiles: ['tests/setup.ts'],
    pool: 'forks', // threads end with an error in Deno, and SwiftShader's environment is per process
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
