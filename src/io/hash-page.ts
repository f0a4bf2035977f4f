// sha256 in a page, whose own digest takes only whole arrays.
import { sha256 } from '@noble/hashes/sha2.js';
import type { Hash } from './hash.ts';

export function createHash(): Hash {
  const hash = sha256.create();
  return {
    update: (bytes) => void hash.update(bytes),
    hex: () => Array.from(hash.digest(), (byte) => byte.toString(16).padStart(2, '0')).join(''),
  };
}
