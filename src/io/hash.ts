// Hashes of files, by which the hub names their content.

export type Hash = { update(bytes: Uint8Array): void; hex(): string };

/** sha256 of bytes that come in pieces. */
export async function sha256(): Promise<Hash> {
  if (!globalThis.process?.versions?.node) return (await import('./hash-page.ts')).createHash();
  const { createHash } = await import('node:crypto');
  const hash = createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}

/** The id that git gives to a file: sha1 of "blob", its size and its bytes. */
export async function gitBlob(bytes: Uint8Array): Promise<string> {
  const head = new TextEncoder().encode(`blob ${bytes.length}\0`);
  const all = new Uint8Array(head.length + bytes.length);
  all.set(head);
  all.set(bytes, head.length);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-1', all));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
