/** The SHA-256 of a typed array's bytes, in hexadecimal; in every runtime. */
export async function sha256(data: ArrayBufferView): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data as ArrayBufferView<ArrayBuffer>));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
