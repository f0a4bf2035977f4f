// Pictures of a request by their addresses: in the request itself, and only where that was allowed from elsewhere.
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { statPath } from '../io/source.ts';
import type { ImageInput } from '../tasks/load-image.ts';
import { Refusal, refusalOf } from './refusal.ts';

export type PictureRules = {
  /** http: and https: addresses are fetched. */
  allowUrls: boolean;
  /** file: addresses in this folder are read. */
  allowFiles?: string | undefined;
  /** Bytes of all that is fetched for a request. */
  maxBody: number;
  /** Milliseconds in which it has to be there. */
  patience: number;
};

type From = (url: string) => Promise<ImageInput>;

/** What opens the pictures of one request. Nothing is decoded yet; files are told to be there. Throws a Refusal of `param`. */
export function pictureOpener(
  rules: PictureRules,
  signal: AbortSignal,
): (url: string, param: string) => Promise<ImageInput> {
  let left = rules.maxBody;
  const late = AbortSignal.any([signal, AbortSignal.timeout(rules.patience)]);

  async function download(url: string): Promise<Blob> {
    const response = await fetch(url, { signal: late });
    if (!response.ok) throw new Error(`got status ${response.status}`);
    const parts: BlobPart[] = [];
    for await (const piece of response.body ?? []) {
      left -= piece.length;
      if (left < 0) throw new Error(`the pictures have more than ${rules.maxBody} bytes, which is the limit here`);
      parts.push(piece as Uint8Array<ArrayBuffer>);
    }
    return new Blob(parts);
  }

  async function file(url: string): Promise<string> {
    const folder = await realpath(rules.allowFiles!);
    const found = await realpath(fileURLToPath(url)).catch(() => undefined); // where links lead
    const isInside = found?.startsWith(folder.endsWith(path.sep) ? folder : folder + path.sep);
    if (found && isInside && (await statPath(found))?.isFile()) return found;
    throw new Error('no such file in the folder that is allowed');
  }

  const ways: Record<string, From | undefined> = {
    data: async (url) => url,
    ...(rules.allowUrls && { http: download, https: download }),
    ...(rules.allowFiles !== undefined && { file }),
  };
  return async (url, param) => {
    const scheme = url.match(/^[a-z]+(?=:)/i)?.[0].toLowerCase() ?? '';
    const way = Object.hasOwn(ways, scheme) ? ways[scheme] : undefined;
    if (!way) {
      const want = Object.keys(ways).map((name) => `${name}:`);
      const message = `${param}: got ${scheme ? `${scheme}:` : 'no scheme'}, want ${want.join(' or ')}; see --allow-urls and --allow-files`;
      throw new Refusal(400, message, { param, code: 'unsupported_image_url' });
    }
    try {
      return await way(url);
    } catch (error) {
      signal.throwIfAborted();
      throw new Refusal(400, `${param}: cannot be had: ${refusalOf(error).message}`, {
        param,
        code: 'invalid_image_url',
      });
    }
  };
}
