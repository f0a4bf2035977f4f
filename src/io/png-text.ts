// Texts inside PNG files (https://www.w3.org/TR/png-3/#11textinfo): settings of a picture that was made, by keyword.
import { explain, UserError } from './error.ts';
import { type Chunk, chunksOf } from './png.ts';

const [UTF8, LATIN1] = [new TextEncoder(), new TextDecoder('latin1')];
const MAX_TEXT = 2 ** 24; // bytes, unpacked
const KEYWORD = /^[!-~](?:[ -~]{0,77}[!-~])?$/;

/** Texts as parts of a file: Latin 1 as every reader knows it (tEXt), all else as UTF-8 (iTXt). */
export const textChunks = (texts: Readonly<Record<string, string>>): Chunk[] =>
  Object.entries(texts).map(([keyword, text]) => {
    if (!KEYWORD.test(keyword))
      throw new Error(`[png] keyword ${JSON.stringify(keyword)}: want 1 to 79 plain characters`);
    // controls but for the line feed, and what is not Latin 1
    const isPlain = /^[\n -~\xa0-\xff]*$/.test(text);
    const head = `${keyword}\0${isPlain ? '' : '\0\0\0\0'}`; // not packed, no language, no translated keyword
    const body = isPlain ? Uint8Array.from(text, (c) => c.charCodeAt(0)) : UTF8.encode(text);
    return { type: isPlain ? 'tEXt' : 'iTXt', content: Uint8Array.from([...UTF8.encode(head), ...body]) };
  });

/** The texts of a PNG file by their keywords; of two with one keyword the first. Throws a UserError for any other file. */
export async function pngTexts(file: Uint8Array, name = 'png'): Promise<Record<string, string>> {
  const fail = (what: string): never => {
    throw new UserError(`[${name}] ${what}`);
  };
  if (String.fromCharCode(...file.subarray(1, 4)) !== 'PNG') fail('no PNG file: want one that was made here');
  const texts: Record<string, string> = {};
  for (const { type, content } of chunksOf(file, (what) => fail(`damaged PNG: ${what}. Get the file again.`))) {
    if (!/^(tEXt|zTXt|iTXt)$/.test(type)) continue;
    const end = content.indexOf(0);
    const keyword = LATIN1.decode(content.subarray(0, Math.max(end, 0)));
    if (end > 0 && !Object.hasOwn(texts, keyword)) texts[keyword] = await textOf(type, content.subarray(end + 1), name);
  }
  return texts;
}

/** What stands behind the keyword. */
async function textOf(type: string, rest: Uint8Array<ArrayBuffer>, name: string): Promise<string> {
  if (type === 'tEXt') return LATIN1.decode(rest);
  if (type === 'zTXt') return LATIN1.decode(await unpack(rest.subarray(1), name));
  const language = rest.indexOf(0, 2);
  const body = rest.subarray(rest.indexOf(0, language + 1) + 1);
  return new TextDecoder().decode(rest[0] === 1 ? await unpack(body, name) : body);
}

async function unpack(packed: Uint8Array<ArrayBuffer>, name: string): Promise<Uint8Array> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate')).getReader();
  const next = () => explain(name, 'damaged text', () => reader.read());
  for (let part = await next(); part.value; part = await next()) {
    size += part.value.length;
    if (size > MAX_TEXT) {
      reader.cancel().catch(() => {});
      throw new UserError(`[${name}] damaged text: it is longer than ${MAX_TEXT} bytes`);
    }
    parts.push(part.value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
